"""Plain loops over numbers, as a program in C or Fortran has them; ReLU only."""

import math

import numpy as np


def dot(a, b):
    return sum(p * q for p, q in zip(a, b))


class Adapter:
    def layers(self, net):
        if net.activation.name != "relu":
            raise NotImplementedError
        zero = [[0.0] * len(W) for W in net.weights]
        biases = [z if b is None else b.tolist() for z, b in zip(zero, net.biases)]
        return [(W.tolist(), b) for W, b in zip(net.weights, biases)]

    def one(self, layers, x):
        """Activations a_l and preactivations z_l of one sample."""
        activations, zs = [x], []
        for W, b in layers:
            z = [dot(W[k], activations[-1]) + b[k] for k in range(len(W))]
            zs.append(z)
            activations.append([v if v > 0 else 0.0 for v in z])
        return activations[:-1], zs

    def signals(self, layers, zs):
        """δ_l of one sample."""
        deltas = [[1.0]]
        for l in range(len(layers) - 1, 0, -1):
            W = layers[l][0]
            pulled = [sum(W[k][j] * deltas[0][k] for k in range(len(W))) for j in range(len(W[0]))]
            deltas.insert(0, [p if z > 0 else 0.0 for p, z in zip(pulled, zs[l - 1])])
        return deltas

    def row(self, net, layers, x):
        activations, zs = self.one(layers, x)
        row = []
        for l, delta in enumerate(self.signals(layers, zs)):
            for d in delta:
                row.extend(d * a for a in activations[l])
            if net.biases[l] is not None:
                row.extend(delta)
        return row

    def theta(self, net):
        return [v for p in net.arrays for v in p.ravel().tolist()]

    def outputs(self, net, x):
        layers = self.layers(net)
        return np.array([self.one(layers, x_i)[1][-1][0] for x_i in x.tolist()])

    def per_sample_gradients(self, net, x):
        layers = self.layers(net)
        return np.array([self.row(net, layers, x_i) for x_i in x.tolist()])

    def stationarity_residual(self, net, x, y, multipliers):
        residual, layers = self.theta(net), self.layers(net)
        for i, x_i in enumerate(x.tolist()):
            c = float(multipliers[i] * y[i])
            for k, g in enumerate(self.row(net, layers, x_i)):
                residual[k] -= c * g
        return np.array(residual)

    def stationarity(self, net, x, y, multipliers):
        r = self.stationarity_residual(net, x, y, multipliers).tolist()
        layers, value = self.layers(net), sum(v * v for v in r)
        grad_x, grad_lam = np.zeros(x.shape), np.zeros(len(x))
        for i, x_i in enumerate(x.tolist()):
            activations, zs = self.one(layers, x_i)
            deltas = self.signals(layers, zs)
            grad_lam[i] = -2 * y[i] * dot(r, self.row(net, layers, x_i))
            place, adjoint = 0, [0.0] * len(x_i)
            # ⟨r, ∇θΦ⟩ = Σ_l δ_lᵀ R_l a_{l-1}: its derivative in x, forwards through the tangent
            tangent = [[float(j == k) for k in range(len(x_i))] for j in range(len(x_i))]
            for l, (W, b) in enumerate(layers):
                for k, d in enumerate(deltas[l]):
                    R_k = r[place : place + len(W[k])]
                    place += len(W[k])
                    for j in range(len(x_i)):
                        adjoint[j] += d * sum(R_k[p] * tangent[p][j] for p in range(len(R_k)))
                if net.biases[l] is not None:
                    place += len(b)
                on = [z > 0 for z in zs[l]]
                tangent = [
                    [dot(W[k], [t[j] for t in tangent]) if on[k] else 0.0 for j in range(len(x_i))]
                    for k in range(len(W))
                ]
            c = float(multipliers[i] * y[i])
            grad_x[i] = [-2 * c * v for v in adjoint]
        return value, grad_x, grad_lam

    def kkt_conditions(self, net, x, y, multipliers, margin):
        residual = self.stationarity_residual(net, x, y, multipliers)
        primal, dual, slack, mass = 0.0, 0.0, 0.0, 0.0
        for lam, label, phi in zip(multipliers, y, self.outputs(net, x)):
            primal = max(primal, margin - label * phi)
            dual = max(dual, -lam)
            slack += abs(lam * (label * phi - margin))
            mass += abs(lam) * margin
        size = math.sqrt(sum(v * v for v in self.theta(net)))
        norm = math.sqrt(sum(v * v for v in residual.tolist()))
        return norm / size, primal / margin, dual, slack / mass if mass else 0.0

    def training_step(self, net, x, y, step):
        theta, layers = self.theta(net), self.layers(net)
        for label, x_i in zip(y.tolist(), x.tolist()):
            phi = self.one(layers, x_i)[1][-1][0]
            c = step * label / (1 + math.exp(min(label * phi, 700.0))) / len(y)
            for k, g in enumerate(self.row(net, layers, x_i)):
                theta[k] += c * g
        return np.array(theta)
