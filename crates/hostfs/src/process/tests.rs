use std::process::{Child, Command, Stdio};

use proptest::prelude::*;

use super::*;

fn scanner() -> Scanner {
    Scanner::new(&HostRoot::local())
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn this_process_is_read_as_it_is() {
    let own = i32::try_from(std::process::id()).unwrap();
    let held = vec![1_u8; 8 << 20];
    let sample = scanner().read(own).unwrap().unwrap();
    assert_eq!(sample.pid, own);
    assert!(sample.hwm_bytes.unwrap() >= sample.anon_shmem_bytes.unwrap());
    assert!(sample.anon_shmem_bytes.unwrap() >= held.len() as u64);
    let line = scanner().command_line(own, 4096).unwrap().unwrap();
    assert!(line.contains("hostfs"), "{line}");
    assert!(scanner().innermost_pid(own).unwrap().is_some());
}

#[test]
fn a_dead_process_is_none_and_a_zombie_has_no_memory() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let fd = crate::pidfd::open(pid).unwrap();
    let mut wait = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&fd), nix::poll::PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut wait, 10_000_u16), Ok(1), "the pidfd of an ended process is readable");
    let zombie = scanner().read(pid).unwrap().unwrap();
    assert_eq!((zombie.hwm_bytes, zombie.anon_shmem_bytes), (None, None));
    assert_eq!(scanner().command_line(pid, 100).unwrap(), None);
    child.wait().unwrap();
    assert_eq!(scanner().read(pid).unwrap(), None);
}

#[test]
fn descendants_are_found_through_a_shell() {
    let mut command = Command::new("sh");
    let mut child = Killed(command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(child.0.stdout.take().unwrap()), &mut line).unwrap();
    let sleeper: i32 = line.trim().parse().unwrap();
    let mut found = Vec::new();
    scanner().descendants(i32::try_from(child.0.id()).unwrap(), &mut found).unwrap();
    assert_eq!(found, [i32::try_from(child.0.id()).unwrap(), sleeper]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleeper), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn cpu_of_a_single_thread_is_finer_than_a_tick() {
    let tree = tempfile::tempdir().unwrap();
    let host = HostRoot::at(tree.path());
    let process = host.proc.join("42");
    fs::create_dir_all(&process).unwrap();
    let tail = "0 ".repeat(30);
    fs::write(process.join("stat"), format!("42 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 3 2 0 0 20 0 1 0 777 0 0 {tail}\n")).unwrap();
    fs::write(process.join("status"), "Name:\ta\nVmHWM:\t    2048 kB\nRssAnon:\t 100 kB\nRssFile:\t 9 kB\nRssShmem:\t 28 kB\n")
        .unwrap();
    fs::write(process.join("schedstat"), "51234567 1 2\n").unwrap();
    let sample = Scanner::new(&host).read(42).unwrap().unwrap();
    assert_eq!((sample.name.as_str(), sample.parent, sample.start_ticks), ("a b) c", 1, 777));
    assert_eq!((sample.cpu_ns, sample.hwm_bytes, sample.anon_shmem_bytes), (51_234_567, Some(2 << 20), Some(128 << 10)));
    fs::write(process.join("status"), "VmHWM:\tlots\n").unwrap();
    let error = Scanner::new(&host).read(42).unwrap_err();
    assert!(error.path().ends_with("42/status"), "{error}");
}

#[test]
fn a_child_that_has_not_executed_its_command_yet_is_not_counted_as_the_job() {
    let tree = tempfile::tempdir().unwrap();
    let host = HostRoot::at(tree.path());
    fs::create_dir_all(host.proc.join("42")).unwrap();
    let stat = |name: &str| format!("42 ({name}) S 1 1 1 0 -1 0 0 0 0 0 3 2 0 0 20 0 1 0 777 0 0 {}\n", "0 ".repeat(30));
    fs::write(host.proc.join("42/status"), "VmHWM:\t    6048 kB\n").unwrap();
    let mut scanner = Scanner::new(&host);
    fs::write(host.proc.join("42/stat"), stat(FORKER_COMM)).unwrap();
    assert_eq!(scanner.read(42).unwrap(), None);
    fs::write(host.proc.join("42/stat"), stat("true")).unwrap();
    assert!(scanner.read(42).unwrap().is_some());
}

#[test]
fn a_command_line_is_cut_at_a_character() {
    assert_eq!(status::command_line(b"sh\0-c\0echo\0\0", 100), "sh -c echo");
    assert_eq!(status::command_line("ab\u{e9}cd".as_bytes(), 3), "ab");
    assert_eq!(status::command_line(b"", 3), "");
}

#[test]
fn init_is_told_from_the_stages_before_it() {
    assert_eq!(status::innermost_pid(b"Name:\tsh\nNSpid:\t4711\t1\nx:\n"), Ok(Some(1)));
    assert_eq!(status::innermost_pid(b"NSpid:\t4711\n"), Ok(Some(4711)));
    assert_eq!(status::innermost_pid(b"Name:\tsh\n"), Ok(None));
    assert!(status::innermost_pid(b"NSpid:\n").is_err());
}

proptest! {
    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), limit in 0_usize..400) {
        let _outcomes = (stat(&bytes), status::memory(&bytes), status::innermost_pid(&bytes), status::on_cpu_ns(&bytes));
        prop_assert!(status::command_line(&bytes, limit).len() <= limit);
    }

    #[test]
    fn a_stat_line_of_any_shape_never_panics(parts in proptest::collection::vec(prop_oneof![
        Just("("), Just(")"), Just(" "), Just("1"), Just("S"), Just("-1"), Just("é"), Just("18446744073709551615")], 0..80)) {
        let _sample = stat(parts.concat().as_bytes());
    }
}
