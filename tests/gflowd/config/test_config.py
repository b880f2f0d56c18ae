import contextlib
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd import paths
from gflowd.commands import init
from gflowd.config import loader, notification_targets, settings, toml_file, value_types
from gflowd.core.cluster.cluster_settings import Cluster
from gflowd.core.errors import Refused

NOWHERE = {"HOME": "/nonexistent"}

Load = Callable[..., loader.Config]  # text of the file, environment, options
Refusal = Callable[..., str]  # text of the file, environment


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def from_text(
        text: str | bytes, environ: dict[str, str] | None = None, options: dict[str, str] | None = None
    ) -> loader.Config:
        path = tmp_path / "gflow.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return loader.load(str(path), environ or {}, options)

    return from_text


@pytest.fixture
def refusal(load: Load, tmp_path: Path) -> Refusal:
    def of(text: str | bytes, environ: dict[str, str] | None = None) -> str:
        with pytest.raises(Refused) as caught:
            load(text, environ)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return of


def settled(loaded: loader.Config) -> dict[str, object]:
    return {name: value for name, value in vars(loaded).items() if name not in {"path", "mtime_ns"}}


def test_without_a_file_every_setting_has_its_default() -> None:
    loaded = loader.load(None, NOWHERE)
    assert loaded.mtime_ns is None
    assert loaded.path == "/nonexistent/.config/gflow/gflow.toml"
    assert (loaded.poll_interval, loaded.gpu_allocation, loaded.gpu_allow, loaded.executor) == (
        10,
        "sequential",
        None,
        None,
    )
    assert (loaded.fair_share_half_life, loaded.history_after, loaded.log_max_size) == (7 * 86400, 86400, 1 << 30)
    assert loaded.known_projects == ()
    assert loaded.quotas == {}


def test_a_file_that_was_named_must_exist() -> None:
    with pytest.raises(Refused, match=r"^/nonexistent/x\.toml: No such file"):
        loader.load("/nonexistent/x.toml", {})
    with pytest.raises(Refused, match=r"^/nonexistent/y\.toml: No such file"):
        loader.load(None, {"GFLOW_CONFIG": "/nonexistent/y.toml"})


def test_every_row_of_the_table_is_a_field_of_the_configuration() -> None:
    fields = set(loader.Config.__dataclass_fields__) - {
        "path",
        "mtime_ns",
        "notes",
        "quotas",
        "clusters",
        "gpu_allow_by",
    }
    assert {setting.attribute for setting in settings.SETTINGS} == fields


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
def test_a_default_as_written_reads_as_the_default(setting: settings.Setting) -> None:
    table = tomllib.loads(f"{setting.key} = {setting.written}")
    assert setting.kind.read(table[setting.key]) == setting.default


def test_the_template_says_nothing_until_uncommented(load: Load) -> None:
    assert settled(load(init.template())) == settled(loader.load(None, NOWHERE))


def test_the_uncommented_template_is_valid_and_still_the_defaults(load: Load) -> None:
    keys_and_tables = re.compile(r"^# ((?:\w+ = |\[).*)$", re.MULTILINE)
    text = keys_and_tables.sub(r"\1", init.template())
    loaded = load(text)
    assert loaded.quotas["user:alice"] == {"max_running_jobs": 16}
    assert loaded.clusters == {"hpc": Cluster(name="hpc", directory="/shared/gflow")}, "its defaults are the class's"
    same = {"quotas": None, "clusters": None, "gpu_allow_by": None}
    assert settled(loaded) | same == settled(loader.load(None, NOWHERE)) | same
    written = {path for path, _ in toml_file.entries(tomllib.loads(text))}
    assert {path for path in settings.BY_PATH if path[0] != "shared"} <= written
    assert "[shared]" not in init.template()


@pytest.mark.skipif(os.getuid() != 0, reason="only root writes the system's configuration")
def test_the_system_has_a_configuration_of_its_own_which_only_root_may_write(tmp_path: Path) -> None:
    text = re.sub(r"^# ((?:\w+ = |\[).*)$", r"\1", init.template(system=True), flags=re.MULTILINE)
    path = tmp_path / "gflow.toml"
    path.write_text(text)
    loaded = loader.load(str(path), {}, system=True)
    assert settled(loaded)["shared_operators"] == ("@gflow-admin",)
    assert {path for path, _ in toml_file.entries(tomllib.loads(text))} >= set(settings.BY_PATH)
    path.write_text("[shared]\nusers = ['ada', '@students']\ntop_priority = 17\nenforce_gpus = 'everyone'")
    loaded, sources = loader.explain(str(path), {}, system=True)
    assert (loaded.shared_users, loaded.shared_top_priority) == (("ada", "@students"), 17)
    assert (loaded.shared_enforce_gpus, loaded.shared_reserve) == ("everyone", "operators")
    assert [source.where for source in sources() if source.name == "shared.users"] == ["line 2"]
    assert loaded.quotas == {"default-user": {"max_running_jobs": 256}}
    limited = tmp_path / "limited.toml"
    limited.write_text("[quota.default_user]\nmax_running_gpus = 2\n[shared]\nmax_running_per_user = 3")
    said = loader.load(str(limited), {}, system=True).quotas
    assert said == {"default-user": {"max_running_jobs": 3, "max_running_gpus": 2}}
    assert loader.load(None, {}, system=True).path == paths.SYSTEM_CONFIG

    for mode, owner, told in ((0o664, 0, "chmod go-w"), (0o646, 0, "chmod go-w"), (0o644, 60001, "chown root")):
        path.chmod(mode)
        os.chown(path, owner, 0)
        with pytest.raises(Refused, match=rf"gflow\.toml .*: {told} "):
            loader.load(str(path), {}, system=True)
    path.chmod(0o644)
    os.chown(path, 0, 0)
    link = tmp_path / "link"
    link.symlink_to(path)
    tmp_path.chmod(0o777)  # whoever may replace a file writes what is read
    for name in (path, link):
        with pytest.raises(Refused, match=r"can be written by others than root: chmod go-w"):
            loader.load(str(name), {}, system=True)
    tmp_path.chmod(0o1777)
    assert loader.load(str(link), {}, system=True).shared_top_priority == 17


def test_what_is_the_systems_is_refused_from_a_user(refusal: Refusal) -> None:
    assert refusal("timezone = 'UTC'\n[shared]\nallow_root = true") == (
        "gflow.toml: line 3: shared.allow_root belongs in the system's configuration, /etc/gflow/gflow.toml, "
        "and has no meaning in a user's"
    )
    assert refusal("", {"GFLOW_SHARED__ALLOW_ROOT": "yes"}) == (
        "GFLOW_SHARED__ALLOW_ROOT: shared.allow_root can only be set in the system's configuration, "
        "/etc/gflow/gflow.toml"
    )
    assert refusal("[shared]\nuserz = 'all'").endswith("unknown key 'shared.userz' (did you mean users?)")
    assert not any(source.name.startswith("shared.") for source in loader.explain(None, NOWHERE)[1]())


def test_a_cluster_has_a_table_of_its_own(load: Load, refusal: Refusal, tmp_path: Path) -> None:
    table = "[cluster.hpc]\ndirectory = '/nfs/ada/'\n"
    given = (
        "partition = 'gpu'\naccount = 'a1'\nqos = 'none'\noptions = ['--constraint=a b']\npoll_interval = 0.2\n"
        "max_pending = 7\nafter = 'never'\ncommand_prefix = \"ssh 'log in'\"\nengine = 'slurm'\n"
    )
    loaded = load(table + given + "[cluster.b]\ndirectory = '/b'")
    assert loaded.clusters == {
        "hpc": Cluster(
            name="hpc", directory="/nfs/ada", partition="gpu", account="a1", options=("--constraint=a b",),
            poll_interval=0.2, max_pending=7, after=None, command_prefix=("ssh", "log in"),
        ),
        "b": Cluster(name="b", directory="/b", after=600),
    }  # fmt: skip
    assert load("").clusters == {}
    (tmp_path / "gflow.toml").write_text(table)
    sources = loader.explain(str(tmp_path / "gflow.toml"), {})[1]()
    assert [(each.name, each.value, each.where) for each in sources if "cluster" in each.name] == [
        ("cluster.hpc.directory", "/nfs/ada", "line 2")
    ]
    for text, told in {
        "[cluster.hpc]\nqos = 'x'": "[cluster.hpc]: directory is missing: one that this machine and the nodes see",
        "[cluster.auto]\ndirectory = '/x'": "[cluster.auto]: not a cluster's name (letters, digits",
        f"{table}engine = 'pbs'": "gflow.toml: line 3: cluster.hpc.engine: 'pbs' is none of slurm",
        f"{table}qoz = 'x'": "gflow.toml: line 3: unknown key 'cluster.hpc.qoz' (did you mean qos?)",
        f"{table}qos = 'a b'": "gflow.toml: line 3: cluster.hpc.qos: 'a b' is not one word",
        f"{table}options = [1]": "gflow.toml: line 3: cluster.hpc.options: [1] is not a list of words",
        f'{table}options = "a \'b"': 'cluster.hpc.options: "a \'b" is not a list of words',
        "[cluster]\nhpc = 1": "cluster.hpc is a section: write [cluster.hpc] and its keys below it",
        "cluster = 1": "gflow.toml: line 1: cluster is a section",
    }.items():
        assert told in refusal(text), text
    assert "GFLOW_CLUSTER__HPC__QOS: a cluster can only be set in the file" in refusal(
        "", {"GFLOW_CLUSTER__HPC__QOS": "x"}
    )
    assert load("", {"GFLOW_CLUSTER": "x"}).clusters == {}, "a variable of others"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (value_types.people(), [("ada", ("ada",)), (["@x", "y"], ("@x", "y")), ([], ())], ["all", "@", [1], "", 7]),
        (value_types.name_of_file(), [("gflow", "gflow"), ("a.b-c", "a.b-c")], ["", "../x", "a/b", ".x", "a\n", 1]),
    ],
)
def test_people_and_names_of_files(
    kind: value_types.ValueType, good: list[tuple[object, object]], bad: list[object]
) -> None:
    assert [kind.read(word) for word, _ in good] == [value for _, value in good]
    for word in bad:
        with pytest.raises(Refused):
            kind.read(word)


def test_what_says_which_gpus_jobs_may_use_is_known(load: Load) -> None:
    text, environ = '[gpu]\nallow = "1"', {"GFLOW_GPU__ALLOW": "2"}
    assert load("").gpu_allow_by is None
    assert load(text).gpu_allow_by == load(text).path
    assert load(text, environ).gpu_allow_by == "GFLOW_GPU__ALLOW"
    assert load(text, environ, {"gpu.allow": "0"}).gpu_allow_by == "an option of gflowd"


def test_option_goes_before_environment_before_file_before_default(load: Load) -> None:
    text = "[gpu]\npoll_interval = 2"
    environ = {"GFLOW_GPU__POLL_INTERVAL": "3"}
    assert load("").poll_interval == 10
    assert load(text).poll_interval == 2
    assert load(text, environ).poll_interval == 3
    assert load(text, environ, {"gpu.poll_interval": "4"}).poll_interval == 4


def test_the_environment_can_take_a_setting_back(load: Load) -> None:
    assert load("[gpu]\nallow = [0]", {"GFLOW_GPU__ALLOW": "all"}).gpu_allow is None
    assert load("[gpu]\nsimulate = 4", {"GFLOW_GPU__SIMULATE": "0"}).simulate is None


def test_the_environment_sets_nested_and_top_level_settings() -> None:
    loaded = loader.load(
        None,
        NOWHERE
        | {
            "GFLOW_SCHEDULER__FAIR_SHARE__ENABLED": "no",
            "GFLOW_SCHEDULER__CPUS": "8",
            "GFLOW_TIMEZONE": "UTC",
            "GFLOW_PROJECTS__KNOWN_PROJECTS": "a, b",
            "GFLOW_QUOTA__DEFAULT_USER__MAX_RUNNING_JOBS": "3",
            "GFLOW_LOGS__KEEP": "",
        },
    )
    assert (loaded.fair_share_enabled, loaded.cpus, loaded.timezone) == (False, 8, "UTC")
    assert loaded.known_projects == ("a", "b")
    assert loaded.quotas == {"default-user": {"max_running_jobs": 3}}


def test_what_a_job_finds_in_its_environment_is_no_setting() -> None:
    environ = {"GFLOW_JOB_ID": "3", "GFLOW_PARAM_A__B": "1", "GFLOW_STATE_DIR": "/x", "GFLOW_DEBUG": "1"}
    assert settled(loader.load(None, NOWHERE | environ)) == settled(loader.load(None, NOWHERE))


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("GFLOW_GPU__POL_INTERVAL", "3", "unknown key 'gpu.pol_interval' (did you mean poll_interval?)"),
        ("GFLOW_GPUS__ALLOW", "3", "unknown key 'gpus.allow' (did you mean gpu.allow?)"),
        ("GFLOW_SCHEDULER__CPUS", "0", "0 is not a whole number of 1 or more"),
        (
            "GFLOW_QUOTA__USERS__X__MAX_RUNNING_JOBS",
            "1",
            "the quota of one user or project can only be set in the file",
        ),
        ("GFLOW_DAEMON__KILL_STRAYS", "perhaps", "'perhaps' is neither true nor false"),
    ],
)
def test_a_wrong_variable_is_named(name: str, word: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        loader.load(None, NOWHERE | {name: word})
    assert str(caught.value) == f"{name}: {message}"


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(Refused, match=r"^/dev/zero: larger than 1 MiB, too large for a configuration file$"):
        loader.load("/dev/zero", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gpu]\n\npol_interval = 3", "line 3: unknown key 'gpu.pol_interval' (did you mean poll_interval?)"),
        ("[gpu]\npoll_interval = 0.5", "line 2: gpu.poll_interval: 0.5 is too short (at least 1 s)"),
        ("[gpu]\npoll_interval = '10'", "line 2: gpu.poll_interval: '10' has no unit: write 10 for seconds, or '10m'"),
        ("[gpu]\npoll_interval = true", "line 2: gpu.poll_interval: true is not a duration"),
        ("[gpu]\nallow = [-1]", "line 2: gpu.allow: [-1] is not a list of GPUs"),
        ("[gpu]\nallow = [true]", "line 2: gpu.allow: [True] is not a list of GPUs"),
        ("[gpu]\nallocation = 'best'", "line 2: gpu.allocation: 'best' is none of sequential, random, topology"),
        ("[gpu]\nsimulate = '4x'", "line 2: gpu.simulate: '4x' is not a number of GPUs"),
        ("gpu = 3", "line 1: gpu is a section: write [gpu] and its keys below it"),
        ("scheduler.fair_share = {enabled = 3}", "line 1: scheduler.fair_share.enabled: 3 is neither true nor false"),
        ("[foo]", "line 1: unknown key 'foo'"),
        ("\nknown_projects = []", "line 2: unknown key 'known_projects' (did you mean projects.known_projects?)"),
        ("[gpu]\ntrust_claims_of = 'ada'", "line 2: gpu.trust_claims_of: 'ada' is not a list of names"),
        ("[gpu]\ntrust_claims_of = [' ']", "line 2: gpu.trust_claims_of: '' is not a user name"),
        ("[projects]\nknown_projects = ['']", "line 2: projects.known_projects: '' is not a project code"),
        ("timezone = 'Europe'", "line 1: timezone: 'Europe' is not a time zone"),
        ("timezone = '../x'", "line 1: timezone: '../x' is not a time zone"),
        ("timezone = 3", "line 1: timezone: 3 is not a time zone"),
        ("[scheduler]\nmemory = 0", "line 2: scheduler.memory: 0 is too little"),
        ("[scheduler]\nmemory = 1.5", "line 2: scheduler.memory: 1.5 is not an amount of memory"),
        ("[scheduler.fair_share]\ncpu_weight = nan", "line 2: scheduler.fair_share.cpu_weight: nan is not a number"),
        ("[daemon]\nlog_level = 'loud'", "line 2: daemon.log_level: 'loud' is none of debug, info, warning, error"),
        (
            "[quota.users.bob]\nmax_jobs = 3",
            "line 2: unknown key 'quota.users.bob.max_jobs' (did you mean max_queued_jobs?)",
        ),
        ("[quota]\ndefault_user = 3", "line 2: quota.default_user is a section"),
        ("[daemon]\ngpus = [1]\n[gpu]\nallow = [2]", "line 4: gpu.allow and daemon.gpus are the same setting"),
        ("[metrics]\ntextfile = 'x.prom'", "line 2: metrics.textfile: 'x.prom' is not the absolute path of a file"),
        ("[metrics]\nlisten = '0.0.0.0:9421'", "line 2: metrics.listen: '0.0.0.0:9421' is not a loopback address"),
        ("[metrics]\nlisten = '127.0.0.1'", "line 2: metrics.listen: '127.0.0.1' is not an address"),
        ("[metrics]\nlisten = '[::1]:99999'", "line 2: metrics.listen: '[::1]:99999' is not an address"),
        ("[metrics]\nlisten = 9421", "line 2: metrics.listen: 9421 is not an address"),
        (f"[metrics]\nlisten = '/{'x' * 107}'", "line 2: metrics.listen: '/xxxxx"),
        ("a = 1\na = 2", "line 2: cannot overwrite a value"),
        ("[gpu]\npoll_interval =\n", "line 2: invalid value"),
        ("x = [1,\n\n", "line 2: invalid value"),
        (b"[gpu]\n\xff", "line 2: not UTF-8"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_line_and_key(text: str | bytes, message: str, refusal: Refusal) -> None:
    assert refusal(text).startswith(f"gflow.toml: {message}")


def test_the_original_s_file_is_understood(load: Load) -> None:
    loaded = load("""
timezone = "UTC"
[daemon]
host = "localhost"
port = 59000
gpus = [0, 2]
gpu_allocation_strategy = "random"
gpu_poll_interval_secs = 4
[daemon.fair_share]
enabled = false
half_life_secs = 100
[notifications]
enabled = true
max_concurrent_deliveries = 16
[[notifications.webhooks]]
url = "https://api.example.com/gflow/events"
events = ["job_completed", "job_failed", "job_timeout"]
filter_users = ["Alice", "bob"]
headers = { Authorization = "Bearer token123" }
timeout_secs = 10
max_retries = 3
[[notifications.emails]]
smtp_url = "smtps://user:p%40ss@smtp.example.com:465"
from = "gflow <noreply@example.com>"
to = ["alice@example.com"]
events = ["*"]
subject_prefix = "[gflow-prod]"
""")
    assert (loaded.gpu_allow, loaded.gpu_allocation, loaded.poll_interval) == ((0, 2), "random", 4)
    assert (loaded.fair_share_enabled, loaded.fair_share_half_life) == (False, 100)
    assert [note.partition("line ")[2] for note in loaded.notes] == [
        "4: daemon.host has no effect here",
        "5: daemon.port has no effect here",
    ]
    assert (loaded.notify_enabled, loaded.notify_concurrency) == (True, 16)
    (webhook,), (mailbox,) = loaded.notify_webhooks, loaded.notify_emails
    assert (webhook.users, webhook.timeout, webhook.max_retries) == (("alice", "bob"), 10, 3)
    assert mailbox.transport is not None
    assert (mailbox.transport.place, mailbox.transport.password.text) == ("smtp.example.com:465", "p@ss")
    assert notification_targets.of(loaded) == (webhook, mailbox)
    assert notification_targets.transport(loaded) is mailbox.transport  # of jobs' mail too


def test_quotas_of_users_with_dots_in_their_names(load: Load) -> None:
    loaded = load("[quota]\ndefault_project.max_queued_jobs = 0\n[quota.users.' a.b ']\nmax_running_gpus = 2")
    assert loaded.quotas == {"user:a.b": {"max_running_gpus": 2}, "default-project": {"max_queued_jobs": 0}}


def test_a_quota_may_say_that_there_is_no_limit(load: Load) -> None:
    loaded = load("[quota.default_user]\nmax_queued_jobs = 3\n[quota.users.ada]\nmax_queued_jobs = 'none'")
    assert loaded.quotas == {"default-user": {"max_queued_jobs": 3}, "user:ada": {"max_queued_jobs": None}}


def test_durations_and_sizes_are_as_on_the_command_line(load: Load) -> None:
    loaded = load("""
[gpu]
poll_interval = "1m30s"
simulate = "4x24G"
[scheduler]
memory = "64G"
default_time_limit = "1-12"
[logs]
max_size = 100
keep = "forever"
""")
    assert (loaded.poll_interval, loaded.simulate, loaded.memory_mb) == (90, (4, 24576), 65536)
    assert (loaded.default_time_limit, loaded.log_max_size, loaded.log_keep) == (36 * 3600, 100 << 20, None)


def test_metrics_are_given_on_loopback_addresses_and_sockets(load: Load) -> None:
    for word, address in (
        ("localhost:1", "127.0.0.1:1"), ("127.3.0.1:65535", "127.3.0.1:65535"), ("[::1]:9421", "[::1]:9421"),
        ("/run/x.sock", "/run/x.sock"), ("off", None),
    ):  # fmt: skip
        assert load(f"[metrics]\nlisten = '{word}'").metrics_listen == address
    assert load("[metrics]\ntextfile = '/x/gflow.prom'").metrics_textfile == "/x/gflow.prom"


@given(st.sets(st.integers(0, value_types.MOST_GPUS - 1), min_size=1))
def test_a_gpu_list_reads_alike_as_text_and_as_list(indices: set[int]) -> None:
    kind = value_types.gpu_list(unset="all")
    assert kind.read_word(",".join(map(str, indices))) == kind.read(list(indices)) == tuple(sorted(indices))


@given(st.text(max_size=12))
def test_any_word_is_read_or_refused(word: str) -> None:
    for setting in settings.SETTINGS:
        for read in (setting.kind.read_word, setting.kind.read):
            with contextlib.suppress(Refused):
                read(word)


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 5000, "timezone = '" + "a/" * 500 + "'"])
def test_what_is_too_long_or_too_deep_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gflow.toml"
    path.write_text(text)
    with pytest.raises(Refused, match=r"gflow\.toml"):
        loader.load(str(path), {}, {})


def test_any_space_around_a_number_is_passed_over() -> None:
    """What strip() takes for space is more than what float() and int() do."""
    for word in ("\x1d3", "3\x1f", " 3 "):
        found = loader.load(
            None, {"HOME": "/nonexistent", "GFLOW_GPU__POLL_INTERVAL": word, "GFLOW_SCHEDULER__CPUS": word}
        )
        assert (found.poll_interval, found.cpus) == (3, 3)


def test_the_docs_name_every_key() -> None:
    page = Path(__file__).parents[3] / "man" / "gflow.toml.5"
    if not page.exists():
        pytest.skip("no manual page yet")
    text = page.read_text().replace("\\-", "-")
    assert [setting.key for setting in settings.SETTINGS if setting.key not in text] == []
