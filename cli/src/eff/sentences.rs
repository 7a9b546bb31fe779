//! Advice, gaps and ends in words.

use jobmeter_decide::advice::{Advice, Caution, CpuWhy, MemoryWhy, Proposal, What};
use jobmeter_protocol::{ExitStatus, Gap};

use crate::output::{bytes, cores, percent, printable, quantity, seconds};

/// One line for memory, one for CPU, one for each reason to doubt.
pub(super) fn of_advice(advice: &Advice) -> Vec<String> {
    if (&advice.memory.why, &advice.cpu.why) == (&MemoryWhy::NotMeasured, &CpuWhy::NotMeasured) {
        return vec!["no advice: nothing was measured".to_owned()];
    }
    let memory = line("memory", advice.memory.request, advice.memory.limit_at_least, quantity, &memory_why(advice.memory.why));
    let cpu = line("cpu", advice.cpu.request, advice.cpu.limit_at_least, cores, &cpu_why(advice.cpu.why));
    let mut lines = vec![memory, cpu];
    lines.extend(advice.cautions.iter().map(|caution| format!("note: {}", caution_text(*caution))));
    let holds_back = |caution: &Caution| matches!(caution, Caution::Partial { .. } | Caution::EndedEarly);
    if advice.cautions.iter().any(holds_back) {
        lines.push("note: because of that nothing is lowered".to_owned());
    }
    lines
}

fn line(what: &str, request: Proposal, limit: Option<u64>, unit: fn(u64) -> String, why: &str) -> String {
    let request = match request {
        Proposal::Nothing => None,
        Proposal::Keep { now } => Some(format!("keep the request of {}", unit(now))),
        Proposal::Raise { from, to } => Some(format!("request {} instead of {}", unit(to), unit(from))),
        Proposal::Lower { from, to } => Some(format!("request {} instead of {}", unit(to), unit(from))),
        Proposal::Set { to } => Some(format!("request {}", unit(to))),
    };
    let limit = limit.map(|limit| format!("a limit not below {}", unit(limit)));
    match (request, limit) {
        (None, None) => format!("{what}: no advice: {why}"),
        (Some(one), None) | (None, Some(one)) => format!("{what}: {one}: {why}"),
        (Some(request), Some(limit)) => format!("{what}: {request}, {limit}: {why}"),
    }
}

fn memory_why(why: MemoryWhy) -> String {
    match why {
        MemoryWhy::NotMeasured => "its memory was not measured".to_owned(),
        MemoryWhy::OomKilled { kills, peak_bytes } => {
            let times = if kills == 1 { "once".to_owned() } else { format!("{kills} times") };
            let at = peak_bytes.map_or_else(String::new, |peak| format!(" at {}", bytes(peak)));
            format!("it was killed {times} for lack of memory{at}, and needs more than was seen")
        }
        MemoryWhy::AtTheLimit { peak_bytes, limit_bytes } => {
            format!(
                "its peak of {} came to the limit of {}: the kernel had to take memory back",
                bytes(peak_bytes),
                quantity(limit_bytes)
            )
        }
        MemoryWhy::PageCache { peak_bytes, rss_bytes } => format!(
            "most of the peak of {} was page cache, which the kernel can take back; without it the peak was {}",
            bytes(peak_bytes),
            bytes(rss_bytes)
        ),
        MemoryWhy::Watermark { peak_bytes } => format!("the kernel's watermark was {}, a margin is added", bytes(peak_bytes)),
        MemoryWhy::LargestSeen { bytes: seen } => {
            format!("the largest seen was {}, without a watermark of the kernel; a wide margin is added", bytes(seen))
        }
    }
}

fn cpu_why(why: CpuWhy) -> String {
    match why {
        CpuWhy::NotMeasured => "its CPU time was not measured".to_owned(),
        CpuWhy::TooShort { elapsed_seconds } => {
            format!("a run of {} is too short to say how many cores it can use", seconds(elapsed_seconds))
        }
        CpuWhy::Throttled { throttled_seconds, share, .. } => format!(
            "its limit held it back for {}, {} of its time: how much it would have used is not known",
            seconds(throttled_seconds),
            percent(share)
        ),
        CpuWhy::AverageUse { cores } => format!("it used {cores:.2} cores on average; bursts within the run are not seen"),
    }
}

fn caution_text(caution: Caution) -> String {
    match caution {
        Caution::ShortRun { elapsed_seconds } => {
            format!("it ran only {}; a longer run may need more", seconds(elapsed_seconds))
        }
        Caution::LowerBound { what, method } => {
            let what = match what {
                What::Cpu => "CPU time",
                What::Memory => "memory peak",
                What::Rss => "peak without page cache",
            };
            format!("the {what} is a lower bound (method: {})", method.as_str())
        }
        Caution::Partial { records } => {
            let what = if records == 1 { "one record is".to_owned() } else { format!("{records} records are") };
            format!("{what} partial: what is missing may be more")
        }
        Caution::EndedEarly => "no pod completed: a whole run may need more".to_owned(),
    }
}

pub(super) fn of_gap(gap: &Gap) -> String {
    match gap {
        Gap::ContainerMissed { container_id } => {
            format!("container {} went before it was read; the pod's total holds its share", short(container_id))
        }
        Gap::PodMissed { last_reading: Some(at) } => {
            format!("the pod's cgroup went while nobody was watching; the last reading is from {at}")
        }
        Gap::PodMissed { last_reading: None } => "the pod's cgroup went while nobody was watching".to_owned(),
        Gap::Rebooted { boot_id } => {
            format!("the node was rebooted: what came after the last reading of boot {} is lost", short(boot_id))
        }
        Gap::Malformed { path, why } => format!("{} could not be understood: {}", printable(path), printable(why)),
        Gap::Unsupported { what } => format!("this node cannot tell: {}", printable(what)),
    }
}

pub(super) fn of_exit(exit: ExitStatus) -> String {
    match exit {
        ExitStatus { signal: Some(signal), .. } => format!("killed by signal {signal}"),
        ExitStatus { code: Some(code), .. } => format!("exit code {code}"),
        ExitStatus { .. } => "exit unknown".to_owned(),
    }
}

fn short(id: &str) -> String {
    printable(id).chars().take(12).collect()
}
