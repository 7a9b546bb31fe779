//! The kernel thread against real cgroups and processes.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use jobmeter_agent::watch::{KernelEvent, KubeletTrees, SeenBy, TreeKind, Trees, Watch, WatchOptions};
use jobmeter_hostfs::HostRoot;
use tokio::{sync::mpsc::Receiver, time::timeout};

use crate::cgroups::{Cgroups, Reaped, id, uid};

fn options(cgroups: &Cgroups) -> WatchOptions {
    let below = Some(format!("/{}", cgroups.root.display()));
    let kubelet = Some(KubeletTrees { below, except: Vec::new(), holding: None });
    let trees = Trees { kubelet, local: None };
    WatchOptions { host: HostRoot::local(), trees, priority: Some(2), capacity: 4096 }
}

fn start(cgroups: &Cgroups) -> (Watch, Receiver<KernelEvent>) {
    Watch::start(options(cgroups)).unwrap()
}

async fn next(events: &mut Receiver<KernelEvent>) -> KernelEvent {
    let event = timeout(Duration::from_secs(10), events.recv()).await.expect("an event in time").expect("an open channel");
    if let KernelEvent::Problem { path, why } = &event {
        panic!("{}: {why}", path.display());
    }
    event
}

/// All events up to the first for which `last` holds, itself included.
async fn until(events: &mut Receiver<KernelEvent>, last: impl Fn(&KernelEvent) -> bool) -> Vec<KernelEvent> {
    let mut seen = Vec::new();
    loop {
        seen.push(next(events).await);
        if seen.last().is_some_and(&last) {
            return seen;
        }
    }
}

fn is_end(event: &KernelEvent, id: &str) -> bool {
    matches!(event, KernelEvent::ContainerEnded { container_id, .. } if container_id == id)
}

fn burn(cgroups: &Cgroups, path: &std::path::Path) -> u64 {
    // bash's own getrusage of the subshell: milliseconds.
    let script = "TIMEFORMAT='%3U %3S'; time (i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done)";
    let output = cgroups.command(path, script).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    text.split_whitespace().map(|seconds| (seconds.parse::<f64>().unwrap() * 1e9) as u64).sum()
}

#[tokio::test]
async fn a_pod_is_seen_from_its_first_cgroup_to_its_last_with_the_kernels_own_figures() {
    let Some(cgroups) = Cgroups::new() else { return };
    let (watch, mut events) = start(&cgroups);
    println!("real-time priority: {:?}", watch.realtime());
    let (pod_uid, sandbox, main) = (uid(1), id(1), id(2));
    let pod = cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}"));
    let sandbox_path = cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}/{sandbox}"));
    let mut pause = Reaped(cgroups.command(&sandbox_path, "exec sleep 600").spawn().unwrap());
    let main_path = cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}/{main}"));
    let truth = burn(&cgroups, &main_path);
    let seen = until(&mut events, |event| is_end(event, &main)).await;
    let appeared = |n: usize, id: &str, of: u32| matches!(&seen[n], KernelEvent::ContainerAppeared { container_id, order, .. } if container_id == id && *order == of);
    assert!(matches!(&seen[0], KernelEvent::PodAppeared { kind: TreeKind::Kubelet, .. }) && appeared(1, &sandbox, 0));
    assert!(appeared(2, &main, 1), "{seen:#?}");
    let Some(KernelEvent::ContainerEnded { container, pod: pod_reading, seen_by, .. }) = seen.last() else { panic!() };
    let (container, pod_reading) = (container.as_ref().unwrap(), pod_reading.as_ref().unwrap());
    let read = container.cpu.unwrap().usage_ns;
    println!("{seen_by:?}: cgroup {read} ns, wait4 {truth} ns, settled {} ns", cgroups.cpu_ns(&main_path));
    assert_eq!(*seen_by, SeenBy::Pidfd);
    assert_eq!(read, cgroups.cpu_ns(&main_path), "what was reported is what stands there for ever");
    // Above by the start of bash itself, which takes long on an emulated machine.
    assert!(read >= truth.saturating_sub(1_000_000) && read < truth + 30_000_000 + truth / 50, "{read} {truth}");
    assert_eq!(container.memory.unwrap().peak_bytes, Some(cgroups.peak(&main_path)));
    assert!(pod_reading.cpu.unwrap().usage_ns >= read);
    cgroups.removed(&main_path);
    pause.0.kill().unwrap();
    until(&mut events, |event| is_end(event, &sandbox)).await;
    cgroups.removed(&sandbox_path);
    let last_cpu = cgroups.cpu_ns(&pod);
    until(
        &mut events,
        |event| matches!(event, KernelEvent::PodRead { reading, .. } if reading.cpu.unwrap().usage_ns == last_cpu),
    )
    .await;
    let peak = cgroups.peak(&pod);
    cgroups.removed(&pod);
    let gone = until(&mut events, |event| matches!(event, KernelEvent::PodGone { .. })).await;
    let Some(KernelEvent::PodGone { reading: Some(reading), pod_uid: of, .. }) = gone.last() else { panic!("{gone:?}") };
    assert_eq!((of, reading.cpu.unwrap().usage_ns), (&pod_uid, last_cpu));
    assert_eq!(reading.memory.unwrap().peak_bytes, Some(peak));
}

#[tokio::test]
async fn a_container_is_followed_by_its_init_and_not_by_the_stage_before_it() {
    let Some(cgroups) = Cgroups::new() else { return };
    let (watch, mut events) = start(&cgroups);
    let path = cgroups.make(&format!("kubepods/besteffort/pod{}/{}", uid(2), id(3)));
    // As runc does it: a process joins, forks the init of a PID namespace, and leaves; init goes on with a child of its own.
    let script = "exec 3<&0; unshare --pid --fork bash -c 'echo $$; sleep 600 & read line' <&3 & sleep 0.05";
    let mut command = cgroups.command(&path, script);
    let mut stage = Reaped(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut output = BufReader::new(stage.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    if line.trim() != "1" {
        println!("skipped: no PID namespace here");
        return;
    }
    let stdin = stage.0.stdin.take();
    stage.0.wait().unwrap();
    assert!(watch.read_pod(&uid(2)).await.unwrap().unwrap().containers[0].running, "the end of the stage is not the end");
    while let Ok(event) = events.try_recv() {
        assert!(!is_end(&event, &id(3)));
    }
    drop(stdin);
    let seen = until(&mut events, |event| is_end(event, &id(3))).await;
    assert!(matches!(seen.last(), Some(KernelEvent::ContainerEnded { container: Some(_), .. })), "{seen:?}");
    assert!(!watch.read_pod(&uid(2)).await.unwrap().unwrap().containers[0].running, "its child went with it");
}

#[tokio::test]
async fn pods_that_were_there_before_are_attached_to_and_one_made_anew_is_another_segment() {
    let Some(cgroups) = Cgroups::new() else { return };
    let pod_uid = uid(3);
    let path = cgroups.make(&format!("kubepods/pod{pod_uid}"));
    let first = cgroups.make(&format!("kubepods/pod{pod_uid}/{}", id(9)));
    let second = cgroups.make(&format!("kubepods/pod{pod_uid}/{}", id(4)));
    let (watch, mut events) = start(&cgroups);
    let seen = until(&mut events, |event| matches!(event, KernelEvent::ContainerAppeared { order: 1, .. })).await;
    let KernelEvent::PodAppeared { segment: old, .. } = &seen[0] else { panic!("{seen:?}") };
    let KernelEvent::ContainerAppeared { container_id, order: 0, .. } = &seen[1] else { panic!("{seen:?}") };
    assert_eq!(container_id, &id(9), "in the order of their making, not of their names");
    for path in [&first, &second, &path] {
        cgroups.removed(path);
    }
    cgroups.make(&format!("kubepods/pod{pod_uid}"));
    let snapshot = watch.read_pod(&pod_uid).await.unwrap().unwrap();
    let seen = until(&mut events, |event| matches!(event, KernelEvent::PodAppeared { .. })).await;
    let Some(KernelEvent::PodAppeared { segment: new, .. }) = seen.last() else { panic!() };
    assert!(seen.iter().any(|event| matches!(event, KernelEvent::PodGone { segment, .. } if segment == old)), "{seen:?}");
    assert_eq!((&snapshot.segment, new.cgroup_inode != old.cgroup_inode), (new, true));
    assert!(snapshot.containers.is_empty());
}

#[tokio::test]
async fn a_pod_is_read_on_demand_before_its_event_was_handled_and_after_it_was_let_go() {
    let Some(cgroups) = Cgroups::new() else { return };
    let (watch, mut events) = start(&cgroups);
    assert_eq!(watch.read_pod(&uid(99)).await.unwrap(), None);
    let (pod_uid, container_id) = (uid(4), id(5));
    let path = cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}/{container_id}"));
    let output = cgroups.command(&path, "true").status().unwrap();
    assert!(output.success());
    let snapshot = watch.read_pod(&pod_uid).await.unwrap().unwrap();
    assert_eq!(snapshot.containers.len(), 1);
    assert!(!snapshot.containers[0].running);
    assert_eq!(snapshot.reading.unwrap().cpu.unwrap().usage_ns, cgroups.cpu_ns(path.parent().unwrap()));
    // The end was reported before the answer.
    let mut ended = false;
    while let Ok(event) = events.try_recv() {
        ended |= is_end(&event, &container_id);
    }
    assert!(ended);
    assert_eq!(watch.locate(&pod_uid).await.unwrap().unwrap().path, path.parent().unwrap());
    watch.follow(&pod_uid, false);
    let snapshot = watch.read_pod(&pod_uid).await.unwrap().unwrap();
    assert_eq!(snapshot.containers.len(), 1, "still found by its path");
    cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}/{}", id(6)));
    watch.follow(&pod_uid, true);
    let appeared = until(
        &mut events,
        |event| matches!(event, KernelEvent::ContainerAppeared { container_id, .. } if *container_id == id(6)),
    );
    appeared.await;
    watch.stop();
    while timeout(Duration::from_secs(10), events.recv()).await.expect("the channel closes").is_some() {}
    assert!(watch.read_pod(&pod_uid).await.is_err());
}

#[tokio::test]
async fn a_tree_that_appears_later_is_found() {
    let Some(cgroups) = Cgroups::new() else { return };
    fs::remove_dir(cgroups.layout.watched().join(&cgroups.root).join("kubepods/besteffort")).unwrap();
    fs::remove_dir(cgroups.layout.watched().join(&cgroups.root).join("kubepods")).unwrap();
    let (_watch, mut events) = start(&cgroups);
    cgroups.make(&format!("kubepods/burstable/pod{}", uid(5)));
    assert!(matches!(next(&mut events).await, KernelEvent::PodAppeared { .. }));
}

#[tokio::test]
async fn containers_of_a_millisecond_in_our_own_tree_are_all_read() {
    let Some(cgroups) = Cgroups::new() else { return };
    let root = cgroups.make("jobmeter");
    let trees = Trees { kubelet: None, local: Some(root) };
    let (watch, mut events) = Watch::start(WatchOptions { trees, ..options(&cgroups) }).unwrap();
    let mut most_short = 0;
    for n in 0..50 {
        let (pod_uid, container_id) = (uid(1000 + n), format!("main-{n}"));
        let path = cgroups.make(&format!("jobmeter/pod{pod_uid}/{container_id}"));
        assert!(cgroups.command(&path, "exit 0").status().unwrap().success());
        let snapshot = watch.read_pod(&pod_uid).await.unwrap().unwrap();
        let (cpu, peak) = (cgroups.cpu_ns(&path), cgroups.peak(&path));
        cgroups.removed(&path);
        cgroups.removed(path.parent().unwrap());
        let seen = until(&mut events, |event| matches!(event, KernelEvent::PodGone { .. })).await;
        let ended = seen.iter().find_map(|event| match event {
            KernelEvent::ContainerEnded { container, .. } => container.as_ref(),
            _ => None,
        });
        let Some(KernelEvent::PodGone { reading: last, .. }) = seen.last() else { panic!("{seen:?}") };
        for reading in [snapshot.containers[0].reading.as_ref(), ended, last.as_ref()] {
            // On a machine that is emulated or overrun a task is switched out for the last time long after it was reaped: one
            // tick is allowed for that, and said.
            let short = cpu.checked_sub(reading.unwrap().cpu.unwrap().usage_ns).unwrap();
            assert!(short < 4_000_000, "{short} ns short of {cpu}: {seen:?}");
            most_short = short.max(most_short);
        }
        assert_eq!(ended.unwrap().memory.unwrap().peak_bytes, Some(peak));
    }
    println!("50 containers of a millisecond: at most {most_short} ns short of what their cgroups said at the end");
}

/// Three hundred containers end at once while a remover, like a runtime, reaps each and takes its cgroup away at once.
async fn stampede(priority: Option<u8>) -> (usize, usize) {
    const COUNT: u32 = 300;
    let Some(cgroups) = Cgroups::new() else { return (0, 0) };
    let pod_uid = uid(6);
    let pod = cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}"));
    let (watch, mut events) = Watch::start(WatchOptions { priority, ..options(&cgroups) }).unwrap();
    println!("asked for {priority:?}: {:?}", watch.realtime());
    // All wait for the end of one pipe.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut containers: Vec<(PathBuf, Reaped)> = Vec::new();
    for n in 0..COUNT {
        let path = cgroups.make(&format!("kubepods/besteffort/pod{pod_uid}/{}", id(n)));
        let mut command = cgroups.command(&path, "read line");
        containers.push((path, Reaped(command.stdin(reader.try_clone().unwrap()).spawn().unwrap())));
    }
    drop(reader);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let snapshot = watch.read_pod(&pod_uid).await.unwrap().unwrap();
        if snapshot.containers.iter().filter(|container| container.running).count() == COUNT as usize {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    let cgroups = Arc::new(cgroups);
    let remover = std::thread::spawn({
        let cgroups = Arc::clone(&cgroups);
        move || {
            while !containers.is_empty() {
                containers.retain_mut(|(path, child)| child.0.try_wait().unwrap().is_none() || !cgroups.remove(path));
            }
        }
    });
    drop(writer);
    let (mut ended, mut read) = (0, 0);
    while ended < COUNT as usize {
        if let KernelEvent::ContainerEnded { container, pod: reading, .. } = next(&mut events).await {
            ended += 1;
            read += usize::from(container.is_some_and(|reading| reading.cpu.is_some() && reading.memory.is_some()));
            assert!(reading.is_some(), "the pod is always there to be read");
        }
    }
    remover.join().unwrap();
    let (cpu, peak) = (cgroups.cpu_ns(&pod), cgroups.peak(&pod));
    let snapshot = watch.read_pod(&pod_uid).await.unwrap().unwrap();
    let reading = snapshot.reading.unwrap();
    assert_eq!((reading.cpu.unwrap().usage_ns, reading.memory.unwrap().peak_bytes.unwrap()), (cpu, peak));
    assert!(snapshot.containers.is_empty());
    (ended, read)
}

#[tokio::test]
async fn no_pod_total_is_lost_when_three_hundred_containers_end_under_a_hasty_remover() {
    for priority in [Some(2), None] {
        let (ended, read) = stampede(priority).await;
        println!("priority {priority:?}: {read} of {ended} containers read in full before their removal");
    }
}
