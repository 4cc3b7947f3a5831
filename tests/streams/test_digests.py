"""sha256 of files and of what defines a model folder."""

from __future__ import annotations

from pathlib import Path

from seatools.streams.digests import folder_digest, sha256_file

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_model_folder_is_its_weights_and_tokenizer_not_its_logs(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        return folder_digest(folder)

    model = {"config.json": "{}", "model.safetensors": "w"}
    assert digest(**model) == digest(**model) == digest(**model, **{"metrics.jsonl": "{}", "README.md": "x"})
    others = [
        digest(**model | {"model.safetensors": "v"}),
        digest(**{"config.json": "{}", "model-1.safetensors": "w"}),
        digest(**model, **{"tokenizer.json": "{}"}),
        digest(**{"vocab.json": "{}", "merges.txt": "a b"}),
        digest(**{"vocab.json": "{}", "merges.txt": "a c"}),
        digest(**{"qwen.tiktoken": "x"}),
    ]
    assert len({digest(**model), EMPTY, *others}) == 8
