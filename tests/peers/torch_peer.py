"""Straightforward PyTorch: double backward through per-sample gradients' weighted sum."""

import numpy as np
import torch


def activate(activation, z):
    if activation.name == "relu":
        return torch.relu(z)
    if activation.name == "softplus":
        return torch.nn.functional.softplus(z, beta=activation.alpha, threshold=50)
    raise NotImplementedError(activation.name)


def parameters(net):
    return [torch.tensor(p, requires_grad=True) for p in net.arrays]


def phi(net, arrays, x):
    return logits(net, arrays, x)[:, 0]


def logits(net, arrays, x):
    given, a = iter(arrays), x
    for layer, b in enumerate(net.biases):
        a = a if layer == 0 else activate(net.activation, a)
        a = a @ next(given).T
        if b is not None:
            a = a + next(given)
    return a


class DoubleBackward:
    def outputs(self, net, x):
        return phi(net, parameters(net), torch.tensor(x)).detach().numpy()

    def per_sample_gradients(self, net, x):
        arrays, rows = parameters(net), []
        for x_i in torch.tensor(x):
            grads = torch.autograd.grad(phi(net, arrays, x_i[None])[0], arrays)
            rows.append(torch.cat([g.ravel() for g in grads]).numpy())
        return np.stack(rows)

    def _residual(self, net, arrays, x, y, lam):
        weighted = torch.sum(lam * y * phi(net, arrays, x))
        sums = torch.autograd.grad(weighted, arrays, create_graph=True)
        return [p.detach() - g for p, g in zip(arrays, sums, strict=True)]

    def stationarity_residual(self, net, x, y, multipliers):
        data = (torch.tensor(a) for a in (x, y, multipliers))
        parts = self._residual(net, parameters(net), *data)
        return torch.cat([r.detach().ravel() for r in parts]).numpy()

    def stationarity(self, net, x, y, multipliers):
        x, lam = (torch.tensor(a, requires_grad=True) for a in (x, multipliers))
        parts = self._residual(net, parameters(net), x, torch.tensor(y), lam)
        value = sum(torch.sum(r * r) for r in parts)
        grads = torch.autograd.grad(value, (x, lam), allow_unused=True)
        # a linear network's gradient does not depend on x at all
        grad_x = torch.zeros_like(x) if grads[0] is None else grads[0]
        return value.item(), grad_x.numpy(), grads[1].numpy()

    def kkt_conditions(self, net, x, y, multipliers, margin):
        arrays, x, y, lam = parameters(net), *map(torch.tensor, (x, y, multipliers))
        residual = torch.cat([r.detach().ravel() for r in self._residual(net, arrays, x, y, lam)])
        theta = torch.cat([p.detach().ravel() for p in arrays])
        gap = y * phi(net, arrays, x).detach() - margin
        mass = lam.abs().sum() * margin
        return (
            (residual.norm() / theta.norm()).item(),
            (-gap).clamp(min=0).max().item() / margin,
            (-lam).clamp(min=0).max().item(),
            ((lam * gap).abs().sum() / mass).item() if mass > 0 else 0.0,
        )

    def training_step(self, net, x, y, step):
        arrays = parameters(net)
        margins = torch.tensor(y) * phi(net, arrays, torch.tensor(x))
        torch.nn.functional.softplus(-margins).mean().backward()
        torch.optim.SGD(arrays, lr=step).step()
        return torch.cat([p.detach().ravel() for p in arrays]).numpy()

    def class_outputs(self, net, x):
        return logits(net, parameters(net), torch.tensor(x)).detach().numpy()

    def _class_gaps(self, net, arrays, x, y):
        """Φ_y − Φ_j and which of them are constraints, both (n, K)."""
        found = logits(net, arrays, x)
        wrong = torch.ones_like(found, dtype=bool).scatter(1, y[:, None], False)
        return found.gather(1, y[:, None]) - found, wrong

    def _class_residual(self, net, arrays, x, y, lam):
        gaps, wrong = self._class_gaps(net, arrays, x, y)
        total = torch.sum(lam * gaps * wrong)
        sums = torch.autograd.grad(total, arrays, create_graph=True)
        return [p - g for p, g in zip(arrays, sums, strict=True)]

    def class_stationarity(self, net, x, y, multipliers):
        x, lam = (torch.tensor(part, requires_grad=True) for part in (x, multipliers))
        residual = self._class_residual(net, parameters(net), x, torch.tensor(y), lam)
        value = sum((r**2).sum() for r in residual)
        grads = torch.autograd.grad(value, (x, lam))
        return value.item(), *(g.numpy() for g in grads)

    def class_kkt_conditions(self, net, x, y, multipliers, margin):
        arrays, x, y, lam = parameters(net), *map(torch.tensor, (x, y, multipliers))
        residual = self._class_residual(net, arrays, x, y, lam)
        residual = torch.cat([r.detach().ravel() for r in residual])
        theta = torch.cat([p.detach().ravel() for p in arrays])
        gaps, wrong = self._class_gaps(net, arrays, x, y)
        gap, lam = gaps.detach()[wrong] - margin, lam[wrong]
        mass = lam.abs().sum() * margin
        return (
            (residual.norm() / theta.norm()).item(),
            (-gap).clamp(min=0).max().item() / margin,
            (-lam).clamp(min=0).max().item(),
            ((lam * gap).abs().sum() / mass).item() if mass > 0 else 0.0,
        )

    def ssim(self, a, b):
        a, b = torch.tensor(a)[:, None], torch.tensor(b)[:, None]  # channels as a batch
        line = torch.exp(-0.5 * (torch.arange(-5, 6, dtype=a.dtype) / 1.5) ** 2)
        line = line / line.sum()

        def blur(image):
            return torch.nn.functional.conv2d(image, torch.outer(line, line)[None, None])

        mean_a, mean_b = blur(a), blur(b)
        var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
        top = (2 * mean_a * mean_b + 1e-4) * (2 * (blur(a * b) - mean_a * mean_b) + 9e-4)
        bottom = (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
        return (top / bottom).mean().item()
