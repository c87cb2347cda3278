"""θ − Σ λ_i y_i ∇θΦ(θ; x_i): the definition by autograd, and the closed form that equals it."""
