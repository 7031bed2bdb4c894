"""Training an autoencoder: L1 + L2 + KL, with perceptual and adversarial terms as options."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from vitascope.config import AmountOrZero, Config
from vitascope.protocols import Autoencoder
from vitascope.types import Loss, UserError


class ReconstructionConfig(Config):
    """Weights of the terms; each term is a mean per element."""

    l1: AmountOrZero = 0.05  # small: its gradient comes from every pixel alike, that of L2 from wrong edges
    l2: AmountOrZero = 1.0
    kl: AmountOrZero = 5e-5  # keeps latents near unit scale and smooth; higher costs sharpness
    equivariance: AmountOrZero = 0.0  # EQ-VAE (Kouzelis et al. 2025): latents of half the size decode to half the size
    latent_noise: AmountOrZero = 0.0  # up to this deviation more noise is added: what matters is told apart by much
    perceptual: AmountOrZero = 0.0
    perceptual_weights: str = ""  # VGG-16 `features.*` as safetensors; empty: fixed random features
    adversarial: AmountOrZero = 0.0

    def build(self) -> Reconstruction:
        return Reconstruction(self)


class Reconstruction(nn.Module):
    """A module because the discriminator learns; without adversarial term it has no parameters."""

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.config = config
        self.features = VggFeatures(config.perceptual_weights) if config.perceptual else None
        self.critic = critic() if config.adversarial else None

    def loss(self, autoencoder: Autoencoder, pictures: Float[Tensor, "n 3 h w"], rng: torch.Generator) -> Loss:
        mean, log_variance = autoencoder.posterior(pictures)
        deviation = torch.exp(log_variance / 2)
        if self.config.latent_noise:
            more = self.config.latent_noise * torch.rand(len(mean), 1, 1, 1, generator=rng).to(mean)
            deviation = torch.hypot(deviation, more.expand_as(deviation))
        raw = mean + deviation * torch.randn(mean.shape, generator=rng).to(mean)
        made = autoencoder.reconstruct(raw)
        told = self.config
        weighted = {
            "l1": (told.l1, F.l1_loss(made, pictures)),
            "l2": (told.l2, F.mse_loss(made, pictures)),
            "kl": (told.kl, 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()),
        }
        if told.equivariance:
            halved = autoencoder.reconstruct(F.avg_pool2d(raw, 2))
            height, width = (2 * side for side in halved.shape[-2:])  # pooling leaves out an odd last row or column
            shown = F.avg_pool2d(pictures[..., :height, :width], 2)
            weighted["equivariance"] = told.equivariance, F.mse_loss(halved, shown)
        if self.features is not None:
            weighted["perceptual"] = told.perceptual, self.features.distance(made, pictures)
        total = sum((weight * term for weight, term in weighted.values()), torch.zeros(()).to(mean))
        terms = {name: term for name, (_, term) in weighted.items()}
        if self.critic is not None:
            terms["adversarial"], terms["critic"] = self.fool(made), self.judge(made, pictures)
            total = total + self.config.adversarial * terms["adversarial"] + terms["critic"]
        return Loss(total, {name: term.item() for name, term in terms.items()})

    def fool(self, made: Tensor) -> Tensor:
        """What the autoencoder wants of the critic; the critic's own weights get no gradient from it."""
        assert self.critic is not None
        frozen = {name: value.detach() for name, value in self.critic.named_parameters()}
        return -functional_call(self.critic, frozen, (made,)).mean()

    def judge(self, made: Tensor, pictures: Tensor) -> Tensor:
        """Hinge loss of the critic (Lim and Ye 2017, as in VQGAN); the autoencoder gets no gradient from it."""
        assert self.critic is not None
        return F.relu(1 - self.critic(pictures)).mean() + F.relu(1 + self.critic(made.detach())).mean()


def critic(width: int = 64) -> nn.Sequential:
    """A patch discriminator (Isola et al. 2017): one verdict per 8x8 pixels or so."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.GroupNorm(8, 2 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
        nn.GroupNorm(8, 4 * width),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4 * width, 1, 3, padding=1),
    )


class VggFeatures(nn.Module):
    """The first three stages of VGG-16. Without a weights file they keep seeded random values, which see edges too."""

    WIDTHS = ((64, 64), (128, 128), (256, 256, 256))
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as the public weights expect

    def __init__(self, weights: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for stage in self.WIDTHS:
            for out in stage:
                layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
                width = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        if weights:
            self.load(weights)
        else:
            rng = torch.Generator().manual_seed(0)
            for layer in self.features:
                if isinstance(layer, nn.Conv2d):
                    fan_in = layer.weight[0].numel()
                    layer.weight.data = torch.randn(layer.weight.shape, generator=rng) * (2 / fan_in) ** 0.5
                    assert layer.bias is not None
                    nn.init.zeros_(layer.bias)
        self.requires_grad_(False)

    def load(self, weights: str) -> None:
        wanted = self.state_dict()
        try:
            given = load_file(weights)
        except (OSError, SafetensorError) as error:
            raise UserError(f"perceptual_weights: '{weights}' is no readable safetensors file ({error})") from None
        missing = [name for name in wanted if name not in given or given[name].shape != wanted[name].shape]
        if missing:
            raise UserError(f"perceptual_weights: '{weights}' holds no VGG-16, or other names: it lacks '{missing[0]}'")
        self.load_state_dict({name: given[name] for name in wanted})

    def distance(self, made: Float[Tensor, "n 3 h w"], pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, ""]:
        """Mean squared difference of unit-length features, summed over the stages (LPIPS without its linear layers)."""
        total = torch.zeros((), device=made.device)
        mean, std = (made.new_tensor(values)[:, None, None] for values in (self.MEAN, self.STD))
        x, y = (made - mean) / std, (pictures - mean) / std
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                total = total + (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean()
            x, y = layer(x), layer(y)
        return total
