"""Files of weights that are known: where they are, and what their licences allow."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A file of weights that can be downloaded.

    name: the file's name.
    publisher: who published it.
    source: its URL, or a repository of the Hugging Face Hub.
    licence: a line about the weights' licence.
    sha256: its hash, or the first digits of it, if it was published.
    """

    name: str
    publisher: str
    source: str
    licence: str
    sha256: str = ""

    def __str__(self) -> str:
        """Returns the file as a message names it."""
        if self.is_on_hub:
            return f"{self.name} of {self.source}"
        return f"{self.publisher}'s {self.name}"

    @property
    def is_on_hub(self) -> bool:
        """True if the source is a repository, not a URL."""
        return "://" not in self.source


# Files of each network in the order to try them. Hashes are those that the publishers state:
# torchvision in the name, OpenAI in the URL. The others' are not known.
FILES: dict[str, tuple[KnownFile, ...]] = {
    "resnet": (
        KnownFile(
            "resnet152-394f9c45.pth",
            "torchvision",
            "https://download.pytorch.org/models/resnet152-394f9c45.pth",
            "BSD-3-Clause; trained on ImageNet",
            "394f9c45",
        ),
    ),
    "slowfast": (
        KnownFile(
            "SLOWFAST_8x8_R50.pkl",
            "PySlowFast",
            "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl",
            "CC BY-NC 4.0: not for commercial use; trained on Kinetics-400",
        ),
    ),
    "clip-vit": (
        KnownFile(
            "ViT-B-32.pt",
            "OpenAI",
            "https://openaipublic.azureedge.net/clip/models/"
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
            "MIT",
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        ),
        KnownFile("pytorch_model.bin", "OpenAI", "openai/clip-vit-base-patch32", "MIT"),
    ),
    "mil-nce": (
        KnownFile(
            "s3d_howto100m.pth",
            "S3D_HowTo100M",
            "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m/s3d_howto100m.pth",
            "Apache-2.0; trained on HowTo100M",
        ),
    ),
}
