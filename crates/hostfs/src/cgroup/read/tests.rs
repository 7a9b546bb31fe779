use jobmeter_protocol::{CpuCounters, IoCounters, MemoryCounters, PressureCounters};

use super::*;
use crate::HostRoot;

const POD: &str = "kubepods/besteffort/pod0f8e6c1a-5c9d-4c57-9f0c-6f1e4d3b2a10";

struct Tree {
    _dir: tempfile::TempDir,
    host: HostRoot,
}

impl Tree {
    fn v2() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRoot::at(dir.path());
        let tree = Self { _dir: dir, host };
        tree.file("cgroup.controllers", "cpu io memory pids\n");
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v2")).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            tree.file(&format!("{POD}/{}", entry.file_name().to_string_lossy()), &text);
        }
        tree
    }

    fn v1() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRoot::at(dir.path().canonicalize().unwrap());
        let tree = Self { _dir: dir, host };
        for controller in ["cpu", "cpuacct", "memory", "pids", "blkio"] {
            tree.file(&format!("{controller}/cgroup.procs"), "");
            for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1")).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with(&format!("{controller}.")) {
                    tree.file(&format!("{controller}/{POD}/{name}"), &fs::read_to_string(entry.path()).unwrap());
                }
            }
        }
        tree
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.host.cgroup.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.host.cgroup.join(path)).unwrap();
    }

    fn reader(&self) -> Reader {
        Reader::new(Arc::new(Layout::discover(&self.host).unwrap()))
    }

    fn read(&self) -> ReadOutcome {
        self.reader().read(Path::new(POD), Timestamp::UNIX_EPOCH)
    }
}

#[test]
fn a_v2_pod_is_read_whole() {
    let ReadOutcome { reading, problems } = Tree::v2().read();
    assert!(problems.is_empty(), "{problems:?}");
    let reading = reading.unwrap();
    assert_eq!(reading.memory, Some(MemoryCounters { peak_bytes: Some(64 << 20), swap_peak_bytes: Some(0), oom_kills: Some(1) }));
    assert_eq!(reading.cpu.unwrap().usage_ns, 974_966_000);
    assert_eq!((reading.pids_peak, reading.io), (Some(3), Some(IoCounters::default())));
    let pressure = PressureCounters { cpu_some_us: Some(3_178_196), memory_some_us: Some(8155), io_some_us: Some(0) };
    assert_eq!(reading.pressure, Some(pressure));
}

#[test]
fn a_v1_pod_is_read_whole_over_all_its_hierarchies() {
    let ReadOutcome { reading, problems } = Tree::v1().read();
    assert!(problems.is_empty(), "{problems:?}");
    let reading = reading.unwrap();
    let cpu = CpuCounters {
        usage_ns: 106_472_899,
        user_ns: Some(36_000_000),
        system_ns: Some(72_000_000),
        throttled_ns: Some(381_315_700),
        throttled_periods: Some(5),
        periods: Some(6),
    };
    assert_eq!(reading.cpu, Some(cpu));
    let memory = MemoryCounters { peak_bytes: Some(64 << 20), swap_peak_bytes: None, oom_kills: Some(1) };
    assert_eq!(reading.memory, Some(memory));
    assert_eq!((reading.pids_peak, reading.io, reading.pressure), (Some(1), Some(IoCounters::default()), None));
}

#[test]
fn a_file_that_the_kernel_lacks_leaves_its_figure_out_and_nothing_else() {
    let tree = Tree::v2();
    tree.remove(&format!("{POD}/memory.peak"));
    let ReadOutcome { reading, problems } = tree.read();
    assert!(problems.is_empty());
    let memory = reading.as_ref().unwrap().memory.unwrap();
    assert_eq!((memory.peak_bytes, memory.oom_kills), (None, Some(1)));
    assert!(reading.unwrap().cpu.is_some());
}

#[test]
fn a_malformed_file_is_named_and_hides_no_other() {
    let tree = Tree::v2();
    tree.file(&format!("{POD}/memory.peak"), "lots\n");
    let ReadOutcome { reading, problems } = tree.read();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].path().ends_with("memory.peak"), "{}", problems[0]);
    assert_eq!(reading.unwrap().cpu.unwrap().usage_ns, 974_966_000);
}

#[test]
fn a_cgroup_that_is_gone_gives_no_reading_and_no_problem() {
    let ReadOutcome { reading, problems } = Tree::v2().reader().read(Path::new("kubepods/podgone"), Timestamp::UNIX_EPOCH);
    assert!(reading.is_none() && problems.is_empty());
    assert_eq!(Tree::v2().reader().memory_now(Path::new("kubepods/podgone")).unwrap(), None);
}

#[test]
fn memory_in_use_is_told_with_and_without_page_cache() {
    assert_eq!(Tree::v2().reader().cpu_now(Path::new(POD)).unwrap(), Some(974_966_000));
    assert_eq!(Tree::v1().reader().cpu_now(Path::new(POD)).unwrap(), Some(106_472_899));
    let now = Tree::v2().reader().memory_now(Path::new(POD)).unwrap().unwrap();
    assert_eq!(now, MemoryNow { usage_bytes: Some(4_501_504), anon_shmem_bytes: Some(53_248 + 4_194_304) });
    let now = Tree::v1().reader().memory_now(Path::new(POD)).unwrap().unwrap();
    assert_eq!(now, MemoryNow { usage_bytes: Some(9_531_392), anon_shmem_bytes: Some(5_181_440 + 4_194_304) });
}

#[test]
fn held_descriptors_say_the_same_as_the_paths() {
    for tree in [Tree::v1(), Tree::v2()] {
        let layout = Layout::discover(&tree.host).unwrap();
        let (held, problems) = crate::cgroup::Held::open(&layout, Path::new(POD));
        assert!(problems.is_empty());
        let mut outcome = held.read(&layout, Path::new(POD), Timestamp::UNIX_EPOCH);
        tree.reader().complete(Path::new(POD), &mut outcome);
        assert_eq!(outcome.reading, tree.read().reading);
    }
}

#[test]
fn pressure_of_a_hybrid_tree_counts_only_where_processes_have_lived() {
    let tree = Tree::v1();
    tree.file("unified/cgroup.controllers", "hugetlb\n");
    tree.file(&format!("unified/{POD}/cpu.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    tree.file(&format!("unified/{POD}/cpu.stat"), "usage_usec 0\n");
    assert_eq!(tree.read().reading.unwrap().pressure, None);
    tree.file(&format!("unified/{POD}/cpu.stat"), "usage_usec 12\n");
    assert_eq!(tree.read().reading.unwrap().pressure.unwrap().cpu_some_us, Some(0));
}
