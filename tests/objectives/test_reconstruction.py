"""Laws of the autoencoder's training: what each term measures, and where its gradient goes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from vitascope.objectives.reconstruction import Reconstruction, ReconstructionConfig, VggFeatures
from vitascope.tokenizers.frame_vae import FrameVae, FrameVaeConfig
from vitascope.types import Loss, UserError, generator_for

ALL = {"l1": 0.0, "l2": 0.0, "kl": 0.0, "perceptual": 0.0, "adversarial": 0.0, "equivariance": 0.0}


def parts(**weights: float) -> tuple[FrameVae, Reconstruction]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FrameVaeConfig(widths=(16, 32)).build(), ReconstructionConfig(**{**ALL, **weights}).build()


def pictures(num: int = 2) -> torch.Tensor:
    return torch.rand(num, 3, 16, 16, generator=generator_for(0, "pictures", num))


def lesson(vae: FrameVae, reconstruction: Reconstruction) -> Loss:
    return reconstruction.loss(vae, pictures(), generator_for(0, "noise"))


def learns(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


@pytest.mark.parametrize("term", ["l1", "l2", "kl", "perceptual", "equivariance"])
def test_a_term_alone_is_the_loss_and_the_loss_grows_with_its_weight(term):
    once, twice = (lesson(*parts(**{term: weight})) for weight in (1.0, 2.0))
    assert once.total.item() == pytest.approx(once.parts[term], rel=1e-4)
    assert twice.total.item() == pytest.approx(2 * once.total.item(), rel=1e-4)
    assert once.total.item() > 0


@pytest.mark.parametrize("term", ["l1", "l2", "kl", "perceptual", "equivariance"])
def test_every_term_teaches_the_encoder(term):
    vae, reconstruction = parts(**{term: 1.0})
    lesson(vae, reconstruction).total.backward()
    assert learns(vae.encoder)
    assert learns(vae.decoder) == (term != "kl")


def test_the_divergence_is_zero_for_the_standard_normal_and_that_of_torch_elsewhere():
    class Fixed(FrameVae):
        def posterior(self, pictures):
            shape = len(pictures), 8, 2, 2
            return torch.full(shape, self.at), torch.full(shape, self.log_variance)

    _, reconstruction = parts(kl=1.0)
    for at, log_variance in ((0.0, 0.0), (0.7, -1.3)):
        vae = Fixed(FrameVaeConfig(widths=(16, 32)))
        vae.at, vae.log_variance = at, log_variance
        scale = torch.tensor(log_variance / 2).exp()
        normal = torch.distributions.Normal
        expected = torch.distributions.kl_divergence(normal(at, scale), normal(0.0, 1.0))
        assert lesson(vae, reconstruction).parts["kl"] == pytest.approx(expected.item(), abs=1e-6)


def test_a_decoder_that_answers_evenly_is_equivariant_and_misses_only_what_the_half_picture_shows():
    class Even(FrameVae):
        def reconstruct(self, raw):
            return torch.full((len(raw), 3, 8 * raw.shape[-2], 8 * raw.shape[-1]), 0.5)

    _, reconstruction = parts(equivariance=1.0)
    vae, grey = Even(FrameVaeConfig(widths=(16, 32))), torch.full((2, 3, 16, 16), 0.5)
    assert reconstruction.loss(vae, grey, generator_for(0, "noise")).total.item() == 0
    half = torch.nn.functional.avg_pool2d(pictures(), 2)
    assert lesson(vae, reconstruction).total.item() == pytest.approx((half - 0.5).square().mean().item(), rel=1e-5)
    odd = torch.rand(2, 3, 40, 24, generator=generator_for(0, "odd"))  # latents of 5x3, of which pooling leaves 2x1
    half = torch.nn.functional.avg_pool2d(odd[..., :32, :16], 2)
    missed = reconstruction.loss(vae, odd, generator_for(0, "noise")).total.item()
    assert missed == pytest.approx((half - 0.5).square().mean().item(), rel=1e-5)


def test_latent_noise_moves_the_latents_that_the_decoder_sees_by_its_deviation_at_most():
    class Still(FrameVae):
        def posterior(self, pictures):
            return torch.zeros(len(pictures), 8, 2, 2), torch.full((len(pictures), 8, 2, 2), -30.0)

        def reconstruct(self, raw):
            self.seen = raw
            return super().reconstruct(raw)

    vae, many = Still(FrameVaeConfig(widths=(16, 32))), torch.zeros(400, 3, 16, 16)
    for deviation in (0.0, 0.4):
        _, reconstruction = parts(l2=1.0, latent_noise=deviation)
        reconstruction.loss(vae, many, generator_for(0, "noise"))
        # The deviation of each picture is uniform below the limit: its mean square is a third of the limit's.
        assert vae.seen.square().mean().sqrt().item() == pytest.approx(deviation / 3**0.5, rel=0.05, abs=1e-6)


def test_the_same_generator_gives_the_same_loss():
    vae, reconstruction = parts(l1=1.0)
    one, same, other = (reconstruction.loss(vae, pictures(), generator_for(0, name)) for name in ("a", "a", "b"))
    assert torch.equal(one.total, same.total)
    assert not torch.equal(one.total, other.total)


def test_without_adversary_there_is_nothing_to_learn_but_the_autoencoder():
    for weights in ({"l1": 1.0}, {"perceptual": 1.0}):
        _, reconstruction = parts(**weights)
        assert not [p for p in reconstruction.parameters() if p.requires_grad]


def test_fooling_teaches_the_autoencoder_and_not_the_critic():
    vae, reconstruction = parts(adversarial=1.0)
    mean, _ = vae.posterior(pictures())
    reconstruction.fool(vae.reconstruct(mean)).backward()
    assert learns(vae)
    assert not learns(reconstruction.critic)


def test_judging_teaches_the_critic_and_not_the_autoencoder():
    vae, reconstruction = parts(adversarial=1.0)
    mean, _ = vae.posterior(pictures())
    reconstruction.judge(vae.reconstruct(mean), pictures()).backward()
    assert learns(reconstruction.critic)
    assert not learns(vae)


def test_one_lesson_teaches_both_each_by_its_own_term():
    """The critic's gradient is that of judging alone, whatever the weight of fooling."""
    gradients = []
    for weight in (0.1, 10.0):
        vae, reconstruction = parts(adversarial=weight)
        loss = lesson(vae, reconstruction)
        loss.total.backward()
        assert learns(vae)
        assert set(loss.parts) == {"l1", "l2", "kl", "adversarial", "critic"}
        gradients.append([p.grad.clone() for p in reconstruction.critic.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_critic_that_learns_tells_made_from_real():
    _, reconstruction = parts(adversarial=1.0)
    optimizer = torch.optim.Adam(reconstruction.critic.parameters(), 1e-3)
    real, made = pictures(4), pictures(4).mean((2, 3), keepdim=True).expand(4, 3, 16, 16)
    for _ in range(20):
        optimizer.zero_grad()
        reconstruction.judge(made, real).backward()
        optimizer.step()
    assert reconstruction.critic(real).mean() > reconstruction.critic(made).mean() + 0.5


def test_the_perceptual_distance_is_zero_for_the_same_picture_and_grows_with_blur():
    features, sharp = VggFeatures(""), pictures()
    little, much = (torch.nn.functional.avg_pool2d(sharp, k, 1, k // 2, count_include_pad=False) for k in (3, 7))
    assert features.distance(sharp, sharp) == 0
    assert 0 < features.distance(little, sharp) < features.distance(much, sharp)


def test_features_without_weights_are_the_same_everywhere():
    for one, other in zip(VggFeatures("").parameters(), VggFeatures("").parameters(), strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad


def test_weights_of_the_features_come_from_a_file_that_may_hold_more(tmp_path):
    given = {name: value + 1 for name, value in VggFeatures("").state_dict().items()}
    save_file({**given, "classifier.0.weight": torch.ones(3)}, tmp_path / "vgg.safetensors")
    loaded = VggFeatures(str(tmp_path / "vgg.safetensors")).state_dict()
    assert all(torch.equal(loaded[name], given[name]) for name in given)


def test_files_that_hold_no_such_features_are_refused_in_words(tmp_path):
    save_file({"features.0.weight": torch.ones(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights at all")
    for name, message in (
        ("other", r"it lacks 'features\.0\.weight'"),
        ("text", "is no readable safetensors"),
        ("absent", "is no readable safetensors"),
    ):
        with pytest.raises(UserError, match=message):
            VggFeatures(str(tmp_path / f"{name}.safetensors"))
