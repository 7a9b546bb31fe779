//! Which runs of which containers are shown. Pure: pods and flags in, runs out, or why there are none.

use std::collections::{BTreeMap, BTreeSet};

use jobmeter_protocol::ContainerKind;

use super::find::{Pod, Run};

pub(super) struct Wanted<'a> {
    pub(super) container: Option<&'a str>,
    pub(super) all_containers: bool,
    /// `None`: the newest.
    pub(super) attempt: Option<u32>,
    pub(super) previous: bool,
    pub(super) all_attempts: bool,
}

/// One log to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picked<'a> {
    pub(super) pod: &'a Pod,
    /// `None`: nothing is known of its containers yet, and whoever answers chooses.
    pub(super) run: Option<&'a Run>,
    /// The number of the run, also of one that nobody has listed.
    pub(super) attempt: Option<u32>,
    /// Of `-c`, where nothing is known of its containers.
    pub(super) container: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NonePicked {
    #[error("there is no container \"{wanted}\"; there is {}", .there.join(", "))]
    Container { wanted: String, there: Vec<String> },
    #[error("no container was restarted: there is no run before the last one")]
    Previous,
    #[error("there is no attempt {wanted}; the last one is {last}")]
    Attempt { wanted: u32, last: u32 },
}

impl Picked<'_> {
    /// `pod/container`, as headers and messages have it.
    pub(super) fn name(&self) -> String {
        match self.run.map(|run| run.container.as_str()).or(self.container) {
            Some(container) => format!("{}/{container}", self.pod.name),
            None => self.pod.name.clone(),
        }
    }
}

pub(super) fn pick<'a>(pods: &'a [Pod], wanted: &Wanted<'a>) -> Result<Vec<Picked<'a>>, NonePicked> {
    let picked: Vec<Picked<'a>> = pods.iter().flat_map(|pod| of_pod(pod, wanted)).collect();
    if picked.is_empty() && !pods.is_empty() { Err(why_none(pods, wanted)) } else { Ok(picked) }
}

fn of_pod<'a>(pod: &'a Pod, wanted: &Wanted<'a>) -> Vec<Picked<'a>> {
    if pod.runs.is_empty() {
        let attempt = wanted.attempt.filter(|_| !wanted.all_attempts);
        return vec![Picked { pod, run: None, attempt, container: wanted.container }];
    }
    let mut containers: BTreeMap<&str, Vec<&'a Run>> = BTreeMap::new();
    for run in chosen(&pod.runs, wanted) {
        containers.entry(&run.container).or_default().push(run);
    }
    containers.into_values().flat_map(|runs| attempts(pod, &runs, wanted)).collect()
}

/// As kubectl does it: what the job is about, and its helpers only on demand. Before the first main container has started
/// there is nothing but helpers.
fn chosen<'a>(runs: &'a [Run], wanted: &Wanted<'_>) -> Vec<&'a Run> {
    let is_main = |run: &&Run| matches!(run.kind, None | Some(ContainerKind::Main));
    match wanted.container {
        Some(name) => runs.iter().filter(|run| run.container == name).collect(),
        None if !wanted.all_containers && runs.iter().any(|run| is_main(&run)) => runs.iter().filter(is_main).collect(),
        None => runs.iter().collect(),
    }
}

/// Of one container; `runs` in their order.
fn attempts<'a>(pod: &'a Pod, runs: &[&'a Run], wanted: &Wanted<'a>) -> Vec<Picked<'a>> {
    let of_run = |run: &'a Run| Picked { pod, run: Some(run), attempt: Some(run.attempt), container: None };
    let Some(last) = runs.last().copied() else { return Vec::new() };
    if wanted.all_attempts {
        return runs.iter().copied().map(of_run).collect();
    }
    let number = match (wanted.attempt, wanted.previous) {
        (Some(number), _) => Some(number),
        (None, true) => last.attempt.checked_sub(1),
        (None, false) => Some(last.attempt),
    };
    let Some(number) = number.filter(|number| *number <= last.attempt) else { return Vec::new() };
    match runs.iter().copied().find(|run| run.attempt == number) {
        Some(run) => vec![of_run(run)],
        // Nobody has listed it: whoever answers knows whether it is there.
        None => vec![Picked { pod, run: None, attempt: Some(number), container: Some(&last.container) }],
    }
}

fn why_none(pods: &[Pod], wanted: &Wanted<'_>) -> NonePicked {
    let runs = || pods.iter().flat_map(|pod| &pod.runs);
    let there: BTreeSet<&str> = runs().map(|run| run.container.as_str()).collect();
    match (wanted.container, wanted.attempt) {
        (Some(name), _) if !there.contains(name) => {
            NonePicked::Container { wanted: name.to_owned(), there: there.into_iter().map(str::to_owned).collect() }
        }
        (_, Some(wanted)) => NonePicked::Attempt { wanted, last: runs().map(|run| run.attempt).max().unwrap_or(0) },
        (_, None) => NonePicked::Previous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wanted<'_> =
        Wanted { container: None, all_containers: false, attempt: None, previous: false, all_attempts: false };

    fn pod(name: &str, runs: &[(&str, ContainerKind, u32)]) -> Pod {
        let run = |(container, kind, attempt): &(&str, ContainerKind, u32)| Run {
            container: (*container).to_owned(),
            kind: Some(*kind),
            attempt: *attempt,
            entry: None,
        };
        Pod { namespace: "bench".into(), name: name.into(), uid: name.into(), runs: runs.iter().map(run).collect() }
    }

    fn names(pods: &[Pod], wanted: &Wanted<'_>) -> Result<Vec<String>, NonePicked> {
        let name = |picked: &Picked<'_>| format!("{}:{}", picked.name(), picked.attempt.map_or("-".into(), |n| n.to_string()));
        Ok(pick(pods, wanted)?.iter().map(name).collect())
    }

    fn two() -> Vec<Pod> {
        use ContainerKind::{Init, Main};
        vec![pod("a", &[("fetch", Init, 0), ("main", Main, 0), ("main", Main, 1), ("side", Main, 0)]), pod("b", &[])]
    }

    #[test]
    fn the_last_runs_of_the_main_containers_are_shown_unless_more_is_asked_for() {
        assert_eq!(names(&two(), &ALL).unwrap(), ["a/main:1", "a/side:0", "b:-"]);
        let all = Wanted { all_containers: true, ..ALL };
        assert_eq!(names(&two(), &all).unwrap(), ["a/fetch:0", "a/main:1", "a/side:0", "b:-"]);
        let listed = Wanted { all_containers: true, all_attempts: true, ..ALL };
        assert_eq!(names(&two()[..1], &listed).unwrap(), ["a/fetch:0", "a/main:0", "a/main:1", "a/side:0"]);
        assert_eq!(names(&two()[..1], &Wanted { container: Some("fetch"), ..ALL }).unwrap(), ["a/fetch:0"]);
    }

    #[test]
    fn before_the_main_container_has_started_its_init_containers_are_what_there_is() {
        assert_eq!(names(&[pod("a", &[("fetch", ContainerKind::Init, 0)])], &ALL).unwrap(), ["a/fetch:0"]);
    }

    #[test]
    fn an_earlier_run_is_asked_for_also_where_nobody_listed_it() {
        let restarted = [pod("a", &[("main", ContainerKind::Main, 3)])];
        assert_eq!(names(&restarted, &Wanted { previous: true, ..ALL }).unwrap(), ["a/main:2"]);
        assert_eq!(names(&restarted, &Wanted { attempt: Some(0), ..ALL }).unwrap(), ["a/main:0"]);
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let a = &two()[..1];
        let none = |wanted: Wanted<'_>| names(a, &wanted).unwrap_err().to_string();
        assert_eq!(none(Wanted { container: Some("x"), ..ALL }), "there is no container \"x\"; there is fetch, main, side");
        assert_eq!(none(Wanted { attempt: Some(7), ..ALL }), "there is no attempt 7; the last one is 1");
        let fetch = Wanted { container: Some("fetch"), previous: true, ..ALL };
        assert_eq!(none(fetch), "no container was restarted: there is no run before the last one");
    }
}
