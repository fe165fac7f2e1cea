"""What the machine and the control group have left, read from made-up file systems."""

import pytest

from legodnn.shared import host
from legodnn.shared.cgroups import cpu_quota, memory_left
from legodnn.shared.host import available_memory, cpu_cores, cpu_frequency, cpu_seconds, free_memory

MIB = 2**20
NO_LIMIT = 9223372036854771712


def tree(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def v2(current, most="max", cached=0, folder="sys/fs/cgroup/app"):
    return {
        "proc/self/cgroup": "0::/app", f"{folder}/memory.max": most, f"{folder}/memory.current": current,
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cached}\nactive_file 7",
    }  # fmt: skip


def v1(usage, limit=NO_LIMIT, cached=0, folder="sys/fs/cgroup/memory/app"):
    return {
        "proc/self/cgroup": "7:cpu,cpuacct:/app\n4:memory:/app\n0::/",
        f"{folder}/memory.limit_in_bytes": limit, f"{folder}/memory.usage_in_bytes": usage,
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {cached}",
    }  # fmt: skip


def test_version_2_leaves_what_is_not_taken_or_can_be_dropped(tmp_path):
    assert memory_left(tree(tmp_path, v2(60 * MIB, 100 * MIB, 10 * MIB))) == 50 * MIB


def test_version_1_leaves_what_is_not_taken_or_can_be_dropped(tmp_path):
    assert memory_left(tree(tmp_path, v1(60 * MIB, 100 * MIB, 10 * MIB))) == 50 * MIB


@pytest.mark.parametrize("files", [v2(60 * MIB), v1(60 * MIB), {}, {"proc/self/cgroup": "garbage\n\n1:memory"}, {
    "proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/memory.max": "many",
}])  # fmt: skip
def test_max_and_huge_numbers_and_missing_files_are_no_limit(tmp_path, files):
    assert memory_left(tree(tmp_path, files)) is None
    assert free_memory(tmp_path) == pytest.approx(available_memory(), rel=0.2)


def test_what_is_over_the_limit_leaves_nothing(tmp_path):
    assert memory_left(tree(tmp_path, v2(120 * MIB, 100 * MIB))) == 0


def test_the_soft_limit_of_version_2_counts(tmp_path):
    files = {**v2(60 * MIB, 100 * MIB), "sys/fs/cgroup/app/memory.high": 80 * MIB}
    assert memory_left(tree(tmp_path, files)) == 20 * MIB


def test_an_enclosing_group_may_be_tighter(tmp_path):
    files = {**v2(10 * MIB, 100 * MIB), **v2(70 * MIB, 90 * MIB, folder="sys/fs/cgroup"), "proc/self/cgroup": "0::/app"}
    assert memory_left(tree(tmp_path, files)) == 20 * MIB


def test_a_container_sees_its_own_group_where_the_host_has_all(tmp_path):
    files = {**v1(60 * MIB, 100 * MIB, folder="sys/fs/cgroup/memory"), "proc/self/cgroup": "4:memory:/docker/1f/../2e"}
    assert memory_left(tree(tmp_path, files)) == 40 * MIB


def test_version_2_may_be_mounted_beside_version_1(tmp_path):
    assert memory_left(tree(tmp_path, v2(60 * MIB, 100 * MIB, folder="sys/fs/cgroup/unified/app"))) == 40 * MIB


def test_the_tighter_of_machine_and_group_is_free(tmp_path, monkeypatch):
    tree(tmp_path, v2(60 * MIB, 100 * MIB))
    monkeypatch.setattr(host, "available_memory", lambda: 30 * MIB)
    assert free_memory(tmp_path) == 30 * MIB
    monkeypatch.setattr(host, "available_memory", lambda: 50 * MIB)
    assert free_memory(tmp_path) == 40 * MIB


@pytest.mark.parametrize(("files", "cores"), [
    ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "150000 100000"}, 1.5),
    ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "max 100000"}, None),
    ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000",
      "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5),
    ({"proc/self/cgroup": "3:cpu,cpuacct:/app", "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": 20000,
      "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": 10000}, 2.0),
    ({"proc/self/cgroup": "3:cpu:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": 10000}, None),
    ({}, None),
])  # fmt: skip
def test_quotas_of_cores(tmp_path, files, cores):
    assert cpu_quota(tree(tmp_path, files)) == cores


def test_the_core_nearest_to_its_highest_frequency_counts(tmp_path):
    cpu = "sys/devices/system/cpu"
    assert cpu_frequency(tmp_path) == 1
    tree(tmp_path, {f"{cpu}/cpu0/cpufreq/scaling_cur_freq": 600, f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq": 1500})
    assert cpu_frequency(tmp_path) == 0.4
    tree(tmp_path, {f"{cpu}/cpu1/cpufreq/scaling_cur_freq": 1200, f"{cpu}/cpu1/cpufreq/cpuinfo_max_freq": 1500})
    tree(tmp_path, {f"{cpu}/cpu2/cpufreq/scaling_cur_freq": "?", f"{cpu}/cpufreq/policy0": ""})
    assert cpu_frequency(tmp_path) == 0.8
    tree(tmp_path, {f"{cpu}/cpu1/cpufreq/scaling_cur_freq": 1600})
    assert cpu_frequency(tmp_path) == 1


def test_seconds_of_cores_add_up():
    before = cpu_seconds()
    sum(range(10**5))
    after = cpu_seconds()
    assert 0 < before.busy <= before.total
    assert before.own <= after.own
    assert before.total <= after.total
    assert cpu_cores() >= 1
