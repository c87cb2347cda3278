"""PyTorch in the style of a user: modules, double backward, float32 throughout."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.layers = nn.ModuleList()
        self.kind, self.alpha = net.activation.name, getattr(net.activation, "alpha", None)
        for W, b in zip(net.weights, net.biases):
            layer = nn.Linear(W.shape[1], W.shape[0], bias=b is not None)
            layer.weight.data = torch.tensor(W)
            if b is not None:
                layer.bias.data = torch.tensor(b)
            self.layers.append(layer)

    def act(self, z):
        if self.kind == "softplus":
            return nn.functional.softplus(z, beta=self.alpha, threshold=50)
        return torch.relu(z)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.act(layer(x))
        return self.layers[-1](x)


def flatten(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def residuals(model, total):
    params = list(model.parameters())
    sums = torch.autograd.grad(total, params, create_graph=True)
    return [p.detach() - g for p, g in zip(params, sums)]


class Adapter:
    def build(self, net):
        if net.activation.name == "gated":
            raise NotImplementedError
        return Model(net)

    def outputs(self, net, x):
        return self.build(net)(torch.tensor(x))[:, 0].detach().numpy()

    def per_sample_gradients(self, net, x):
        model, rows = self.build(net), []
        for i in range(len(x)):
            model.zero_grad()
            model(torch.tensor(x[i : i + 1])).sum().backward()
            rows.append(flatten([p.grad for p in model.parameters()]))
        return torch.stack(rows).numpy()

    def weighted(self, model, x, y, lam):
        return (lam * y * model(x)[:, 0]).sum()

    def stationarity_residual(self, net, x, y, multipliers):
        model, x, y, lam = self.build(net), *map(torch.tensor, (x, y, multipliers))
        return flatten(residuals(model, self.weighted(model, x, y, lam))).numpy()

    def stationarity(self, net, x, y, multipliers):
        model = self.build(net)
        x, lam = (torch.tensor(a, requires_grad=True) for a in (x, multipliers))
        parts = residuals(model, self.weighted(model, x, torch.tensor(y), lam))
        loss = sum((r**2).sum() for r in parts)
        loss.backward()
        grad_x = torch.zeros_like(x) if x.grad is None else x.grad
        return loss.item(), grad_x.numpy(), lam.grad.numpy()
