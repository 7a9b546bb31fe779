//! The parts of the page, in their order.

use std::io;

use jiff::Timestamp;
use jobmeter_protocol::{Job, LogRef, LogState, Quality, Record};

use super::Page;
use crate::eff::sentences;
use crate::output::{Align, Cell, Grid, Pods, Rendering, Units, cores, percent, printable, quantity, render_records};

/// More pods than this are not listed one by one.
const PODS_LISTED: usize = 10;

pub(super) fn who(page: &mut Page<'_>, job: Option<&Job>, records: &[Record]) -> io::Result<()> {
    let pods = Pods(records);
    let Some(first) = records.first() else {
        return page.lines("Job", ["no records".to_owned()]);
    };
    let identity = &first.identity;
    let owner = &identity.job;
    let cluster =
        if identity.cluster.is_empty() { String::new() } else { format!(" of cluster {}", printable(&identity.cluster)) };
    let place = format!("namespace {}{cluster}", printable(&identity.namespace));
    page.lines("Job", [format!("{} ({}), {place}", printable(&owner.name), printable(&owner.kind))])?;
    if let [only] = records {
        page.lines("Pod", [printable(&only.identity.pod).into_owned()])?;
    }
    let deciding = pods.deciding().unwrap_or(first);
    let exit = deciding.outcome.exit.map(|exit| format!(", {}", sentences::of_exit(exit))).unwrap_or_default();
    let state = job.map_or_else(|| deciding.outcome.reason.as_str().to_owned(), |job| format!("{:?}", job.state));
    let reason = deciding.outcome.reason.as_str();
    let reason = if state == reason || (state == "Failed" && reason == "Error") { String::new() } else { format!(", {reason}") };
    page.lines("State", [format!("{state}{reason}{exit}")])?;
    page.lines("", witnesses(deciding))?;
    if let Some(job) = job {
        let counts = [
            (job.pods.completed, "completed"),
            (job.pods.failed, "failed"),
            (job.pods.running, "running"),
            (job.pods.pending, "pending"),
        ];
        let counts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        page.lines("Pods", [counts.join(", ")])?;
    }
    let nodes: Vec<String> = pods.nodes().into_iter().map(|node| printable(node).into_owned()).collect();
    if nodes.is_empty() { Ok(()) } else { page.lines("Node", [nodes.join(", ")]) }
}

/// Where its output is, and what became of it if that is not all of it.
pub(super) fn logs(page: &mut Page<'_>, records: &[Record]) -> io::Result<()> {
    let [only] = records else { return Ok(()) };
    let line = |log: &LogRef| {
        let state = match &log.state {
            LogState::Complete => Cell::Bytes(log.bytes).text(Units::Human),
            LogState::Truncated { why } => format!("{}, not complete: {why}", Cell::Bytes(log.bytes).text(Units::Human)),
            LogState::Lost { why } => format!("lost: {why}"),
            LogState::Expected => "on its way".to_owned(),
            LogState::Expired => "expired".to_owned(),
        };
        printable(&format!("{} ({state})", log.location)).into_owned()
    };
    let lines: Vec<String> = only.containers.iter().filter_map(|run| run.log.as_ref()).map(line).collect();
    page.lines("Log", lines)
}

/// What the kernel, the runtime and the API each said, where they do not agree on success.
fn witnesses(record: &Record) -> Vec<String> {
    let outcome = &record.outcome;
    if outcome.reason == jobmeter_protocol::Reason::Completed {
        return Vec::new();
    }
    [("kernel", &outcome.kernel), ("runtime", &outcome.runtime), ("API", &outcome.api)]
        .into_iter()
        .filter_map(|(who, said)| Some(format!("the {who} says: {}", printable(said.as_ref()?))))
        .collect()
}

pub(super) fn time(page: &mut Page<'_>, records: &[Record], now: Timestamp) -> io::Result<()> {
    let started = records.iter().filter_map(|record| record.time.started).min();
    let Some(started) = started else {
        return page.lines("Ran", ["never".to_owned()]);
    };
    let human = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string();
    let line = match records {
        [only] => match only.time.elapsed_seconds {
            Some(elapsed) => format!("{} from {}", page.figure(elapsed, Cell::Elapsed), human(started)),
            None => format!("since {}", human(started)),
        },
        _ => {
            let running = records.iter().any(|record| record.time.finished.is_none());
            let end = records.iter().filter_map(|record| record.time.finished).max().filter(|_| !running).unwrap_or(now);
            let wall = crate::output::seconds(end.duration_since(started).as_secs_f64());
            let pods = Pods(records).pod_seconds().map(crate::output::seconds);
            let pods = pods.map(|pods| format!(", {pods} of pod time")).unwrap_or_default();
            format!("{wall} from {}{pods}", human(started))
        }
    };
    page.lines("Ran", [line])
}

pub(super) fn cpu(page: &mut Page<'_>, records: &[Record]) -> io::Result<()> {
    let pods = Pods(records);
    let Some(cpu) = pods.sum(|usage| usage.cpu_seconds) else {
        return page.lines("CPU", ["not measured".to_owned()]);
    };
    let mut first = page.figure(cpu, Cell::Seconds);
    let (user, system) = (pods.whole_sum(|usage| usage.cpu_user_seconds), pods.whole_sum(|usage| usage.cpu_system_seconds));
    // cgroup v1 splits by ticks of the clock: of a short job it has seen neither.
    if let (Some(user), Some(system)) = (user, system)
        && user.value + system.value > 0.0
    {
        first += &format!(" ({} user, {} system)", page.figure(user, Cell::Seconds), page.figure(system, Cell::Seconds));
    }
    if let Some(seconds) = pods.pod_seconds().filter(|seconds| *seconds > 0.0) {
        first += &format!(", {:.2} cores on average", cpu.value / seconds);
    }
    let request = records.first().and_then(|record| record.resources.cpu_request_millicores);
    let second = match (pods.reserved_core_seconds(), request) {
        (Some(reserved), Some(request)) => format!("{} of the {} requested", percent(cpu.value / reserved), cores(request)),
        _ => "nothing requested".to_owned(),
    };
    let overhead = pods.overhead().filter(|overhead| overhead.value > 0.0);
    let overhead =
        overhead.map(|overhead| format!("{} of it for the sandbox and its set-up", page.figure(overhead, Cell::Seconds)));
    page.lines("CPU", [first, second].into_iter().chain(overhead))?;
    if let Some(throttled) = pods.sum(|usage| usage.throttled_seconds) {
        let periods = pods.sum(|usage| usage.throttled_periods).map_or(0, |periods| periods.value);
        let line = if throttled.value > 0.0 || periods > 0 {
            format!("{} in {periods} periods", page.figure(throttled, Cell::Seconds))
        } else {
            "never".to_owned()
        };
        page.lines("Throttled", [line])?;
    }
    Ok(())
}

pub(super) fn memory(page: &mut Page<'_>, records: &[Record]) -> io::Result<()> {
    let pods = Pods(records);
    let resources = records.first().map(|record| record.resources).unwrap_or_default();
    let largest = if records.len() > 1 { " in its largest pod" } else { "" };
    let shares = |peak: u64| {
        let share = |whole: Option<u64>, what: &str| {
            let whole = whole.filter(|whole| *whole > 0)?;
            Some(format!(", {} of the {} {what}", percent(peak as f64 / whole as f64), quantity(whole)))
        };
        let parts = [share(resources.memory_request_bytes, "requested"), share(resources.memory_limit_bytes, "limit")];
        parts.into_iter().flatten().collect::<String>()
    };
    let peak = pods.largest(|usage| usage.memory_peak_bytes);
    let rss = pods.largest(|usage| usage.rss_peak_bytes);
    let peak = peak.map(|peak| format!("{} peak with page cache{largest}{}", page.figure(peak, Cell::Bytes), shares(peak.value)));
    let rss = rss.map(|rss| match rss.value {
        0 => "its peak without page cache was not seen: it ended too soon".to_owned(),
        _ => format!("{} peak without page cache{largest}{}", page.figure(rss, Cell::Bytes), shares(rss.value)),
    });
    let swap = pods.largest(|usage| usage.swap_peak_bytes).filter(|swap| swap.value > 0);
    let swap = swap.map(|swap| format!("{} peak of swap", page.figure(swap, Cell::Bytes)));
    if peak.is_none() && rss.is_none() {
        page.lines("Memory", ["not measured".to_owned()])?;
    }
    page.lines("Memory", [peak, rss, swap].into_iter().flatten())?;
    match pods.sum(|usage| usage.oom_kills) {
        Some(kills) if kills.value > 0 => page.lines("OOM kills", [kills.value.to_string()]),
        Some(_) => page.lines("OOM kills", ["none".to_owned()]),
        None => Ok(()),
    }
}

pub(super) fn other(page: &mut Page<'_>, records: &[Record]) -> io::Result<()> {
    let pods = Pods(records);
    let (read, written) = (pods.sum(|usage| usage.io_read_bytes), pods.sum(|usage| usage.io_written_bytes));
    if let (Some(read), Some(written)) = (read, written) {
        let line =
            format!("{} read, {} written on block devices", page.figure(read, Cell::Bytes), page.figure(written, Cell::Bytes));
        page.lines("Disk", [line])?;
    }
    let waits = [
        ("a CPU", pods.sum(|usage| usage.cpu_pressure_seconds)),
        ("memory", pods.sum(|usage| usage.memory_pressure_seconds)),
        ("disks", pods.sum(|usage| usage.io_pressure_seconds)),
    ];
    let waits: Vec<String> = waits
        .into_iter()
        .filter_map(|(what, figure)| Some(format!("{} for {what}", page.figure(figure?, Cell::Seconds))))
        .collect();
    if waits.is_empty() { Ok(()) } else { page.lines("Waited", [format!("{} (PSI)", waits.join(", "))]) }
}

/// Containers and processes of one pod; the pods of a job of several.
pub(super) fn details(page: &mut Page<'_>, records: &[Record], now: Timestamp) -> io::Result<()> {
    let [only] = records else {
        let mut listed = records.to_vec();
        listed.sort_by(|one, other| cpu_of(other).total_cmp(&cpu_of(one)));
        let hidden = listed.len().saturating_sub(PODS_LISTED);
        listed.truncate(PODS_LISTED);
        page.methods.extend(listed.iter().flat_map(|record| record.usage.rss_peak_bytes).map(|rss| rss.method));
        let mut text = Vec::new();
        render_records(&listed, &Rendering { header: true, ..Rendering::table(now) }, &mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        // The table's own legend is the page's too.
        let table = text.split("\n\n").next().unwrap_or_default().lines().map(str::to_owned);
        let more = (hidden > 0).then(|| format!("and {hidden} more: jobmeter acct --pods {}", listed[0].identity.job.name));
        return page.lines("Pods", table.chain(more));
    };
    if only.containers.len() > 1 {
        let lines = containers(page, only)?;
        page.lines("Containers", lines)?;
    }
    if only.processes.is_empty() {
        return Ok(());
    }
    let lines = processes(page, only)?;
    page.lines("Processes", lines)
}

fn cpu_of(record: &Record) -> f64 {
    record.usage.cpu_seconds.map_or(0.0, |cpu| cpu.value)
}

fn containers(page: &mut Page<'_>, record: &Record) -> io::Result<Vec<String>> {
    let mut grid = Grid::new([
        ("NAME", Align::Left),
        ("EXIT", Align::Left),
        ("CPU", Align::Right),
        ("MEM-PEAK", Align::Right),
        ("MAX-RSS", Align::Right),
    ]);
    for container in &record.containers {
        let usage = &container.usage;
        grid.row([
            format!(
                "{}{}",
                printable(&container.name),
                if container.attempt > 0 { format!(" (run {})", container.attempt + 1) } else { String::new() }
            ),
            container.exit.map(sentences::of_exit).unwrap_or_else(|| "-".to_owned()),
            usage.cpu_seconds.map_or_else(|| "-".to_owned(), |cpu| page.figure(cpu, Cell::Seconds)),
            usage.memory_peak_bytes.map_or_else(|| "-".to_owned(), |peak| page.figure(peak, Cell::Bytes)),
            usage.rss_peak_bytes.map_or_else(|| "-".to_owned(), |rss| page.figure(rss, Cell::Bytes)),
        ]);
    }
    lines_of(&grid)
}

fn processes(page: &mut Page<'_>, record: &Record) -> io::Result<Vec<String>> {
    let mut grid = Grid::new([("PID", Align::Right), ("CPU", Align::Right), ("MAX-RSS", Align::Right), ("COMMAND", Align::Left)]);
    for process in &record.processes {
        grid.row([
            process.pid.to_string(),
            page.figure(process.cpu_seconds, Cell::Seconds),
            process.rss_peak_bytes.map_or_else(|| "-".to_owned(), |rss| page.figure(rss, Cell::Bytes)),
            printable(&process.command).into_owned(),
        ]);
    }
    lines_of(&grid)
}

fn lines_of(grid: &Grid) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    grid.write(true, &mut text)?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

pub(super) fn quality(page: &mut Page<'_>, records: &[Record]) -> io::Result<()> {
    let mut lines: Vec<String> = Vec::new();
    for record in records {
        let pod = if records.len() > 1 { format!("{}: ", printable(&record.identity.pod)) } else { String::new() };
        let (gaps, state) = match &record.quality {
            Quality::Provisional => {
                (None, Some("provisional: it has not ended, or its last reading is still to come".to_owned()))
            }
            Quality::Complete { notes } => (Some(notes), None),
            Quality::Partial { reason, gaps } => (Some(gaps), Some(format!("partial: {}", printable(reason)))),
        };
        let gaps = gaps.into_iter().flatten().map(sentences::of_gap);
        lines.extend(state.into_iter().chain(gaps).map(|line| format!("{pod}{line}")));
    }
    let hidden = lines.len().saturating_sub(PODS_LISTED);
    lines.truncate(PODS_LISTED);
    if hidden > 0 {
        lines.push(format!("and {hidden} more notes"));
    }
    if lines.is_empty() { page.lines("Quality", ["complete".to_owned()]) } else { page.lines("Quality", lines) }
}
