"""`completion install` of both programs: files where shells look, ours alone."""

from __future__ import annotations

from support.ctl import ROOT, Ctl

BASH, ZSH, FISH = (
    ".local/share/bash-completion/completions",
    ".local/share/zsh/site-functions",
    ".config/fish/completions",
)


def test_completions_are_installed_for_the_shells_there_are(ctl: Ctl) -> None:
    home = ctl.home
    (home / "bin").mkdir()
    ctl.env["PATH"] = str(home / "bin")
    assert ctl.fails(1, "completion", "install") == "none of bash, zsh and fish is on your PATH"
    for shell in ("bash", "fish"):
        (home / "bin" / shell).symlink_to("/bin/true")
    paths = [
        home / place for place in (f"{BASH}/gflowctl", f"{BASH}/gflowd", f"{FISH}/gflowctl.fish", f"{FISH}/gflowd.fish")
    ]
    said = [f"{shell}: {path}" for shell, path in zip(("bash", "bash", "fish", "fish"), paths, strict=True)]
    for _ in range(2):
        assert ctl.ok("completion", "install").splitlines() == [*said, "Shells that start from now on use them."]
    assert paths[3].read_bytes() == (ROOT / "gflowd/completions/gflowd.fish").read_bytes()
    (home / "bin/zsh").symlink_to("/bin/true")
    zsh = f"zsh finds them if ~/.zshrc has, before compinit: fpath=({home / ZSH} $fpath)"
    assert zsh in ctl.ok("completion", "install")
    paths[0].write_text("# my own\n")
    assert ctl.fails(1, "completion", "install") == f"{paths[0]} is not a file of gflow's; --force replaces it"
    assert len(ctl.ok("completion", "install", "--uninstall").splitlines()) == 5
    assert [path.exists() for path in paths] == [True, False, False, False]
    assert ctl.ok("completion", "install", "--uninstall") == ""
    ctl.ok("completion", "install", "--force")
    assert paths[0].read_bytes() == (ROOT / "gflowctl/completions/gflowctl.bash").read_bytes()
    assert "go with install" in ctl.fails(2, "completion", "bash", "--force")
