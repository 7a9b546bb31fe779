//! What one answer of `/v1/live` looks like: pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jobmeter_protocol::{LivePod, Method};

use crate::output::{Align, Cell, Grid, Units, bytes, legend, mark, printable};

pub(super) struct Frame<'a> {
    /// In the order of their lines.
    pub(super) pods: &'a [LivePod],
    pub(super) now: Timestamp,
    /// Several namespaces may occur.
    pub(super) namespaces: bool,
}

/// Readings younger than this are as good as now.
const OLD_SECONDS: f64 = 2.0;

impl Frame<'_> {
    /// Never empty: the first line sums up.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary()];
        if self.pods.is_empty() {
            return lines;
        }
        lines.push(String::new());
        lines.extend(self.table());
        let methods: BTreeSet<Method> = self.pods.iter().map(|pod| pod.method).chain(self.rss_methods()).collect();
        lines
            .extend(legend(&methods).map(|legend| format!("\n{legend}")).iter().flat_map(|text| text.lines().map(str::to_owned)));
        lines
    }

    fn rss_methods(&self) -> impl Iterator<Item = Method> {
        self.pods.iter().filter(|pod| pod.rss_peak_bytes.is_some()).map(|_| Method::Sampled)
    }

    fn summary(&self) -> String {
        let cores: f64 = self.pods.iter().filter_map(|pod| pod.cpu_cores).sum();
        let memory = self.pods.iter().filter_map(|pod| pod.memory_bytes).fold(0, u64::saturating_add);
        // The figures come with the nodes' heartbeats: of a node that is late they are old.
        let oldest = self.pods.iter().map(|pod| pod.at).min().unwrap_or(self.now);
        let age = self.now.duration_since(oldest).as_secs_f64();
        let age =
            if age >= OLD_SECONDS { format!(", read up to {} ago", crate::output::seconds(age.round())) } else { String::new() };
        let clock = format!("{}{age}", self.now.strftime("%H:%M:%S UTC"));
        match self.pods.len() {
            0 => format!("no job pod runs ({clock})"),
            1 => format!("1 job pod, {cores:.2} cores, {} ({clock})", bytes(memory)),
            count => format!("{count} job pods, {cores:.2} cores, {} ({clock})", bytes(memory)),
        }
    }

    fn table(&self) -> Vec<String> {
        let namespace = self.namespaces.then_some(("NAMESPACE", Align::Left));
        let columns = [
            ("JOB", Align::Left),
            ("POD", Align::Left),
            ("NODE", Align::Left),
            ("ELAPSED", Align::Right),
            ("CORES", Align::Right),
            ("CPU", Align::Right),
            ("MEMORY", Align::Right),
            ("MEM-PEAK", Align::Right),
            ("MAX-RSS", Align::Right),
            ("PROCS", Align::Right),
        ];
        let mut grid = Grid::new(namespace.into_iter().chain(columns));
        for pod in self.pods {
            let namespace = self.namespaces.then(|| printable(&pod.namespace).into_owned());
            grid.row(namespace.into_iter().chain(self.entries(pod)));
        }
        let mut text = Vec::new();
        // Writing to a Vec cannot fail; if it did, the frame would be short and the next one whole.
        grid.write(true, &mut text).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    fn entries(&self, pod: &LivePod) -> [String; 10] {
        let mark = mark(Some(pod.method));
        let size = |bytes: Option<u64>, mark: &str| {
            bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{}{mark}", Cell::Bytes(bytes).text(Units::Human)))
        };
        let elapsed = pod.started.map(|started| self.now.duration_since(started).as_secs_f64().max(0.0));
        [
            pod.owner.as_ref().map_or_else(|| "-".to_owned(), |owner| printable(&owner.name).into_owned()),
            printable(&pod.pod).into_owned(),
            printable(&pod.node).into_owned(),
            elapsed.map_or_else(|| "-".to_owned(), crate::output::seconds),
            pod.cpu_cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
            format!("{}{mark}", crate::output::seconds(pod.cpu_ns as f64 / 1e9)),
            size(pod.memory_bytes, ""),
            size(pod.memory_peak_bytes, mark),
            size(pod.rss_peak_bytes, "~"),
            pod.processes.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_running_is_one_plain_line() {
        let frame = Frame { pods: &[], now: Timestamp::UNIX_EPOCH, namespaces: true };
        assert_eq!(frame.lines(), ["no job pod runs (00:00:00 UTC)"]);
    }

    #[test]
    fn old_readings_are_called_old_and_sampled_figures_marked() {
        let pod = LivePod {
            pod_uid: "u".into(),
            namespace: "bench".into(),
            pod: "sort-1".into(),
            node: "node-a".into(),
            owner: None,
            at: Timestamp::UNIX_EPOCH,
            started: Some(Timestamp::UNIX_EPOCH),
            method: Method::Rusage,
            cpu_ns: 2_500_000_000,
            cpu_cores: Some(0.25),
            memory_bytes: Some(3 << 20),
            memory_peak_bytes: None,
            rss_peak_bytes: Some(4 << 20),
            processes: 2,
        };
        let frame = Frame { pods: &[pod], now: "1970-01-01T00:00:09Z".parse().unwrap(), namespaces: true };
        assert_eq!(
            frame.lines(),
            [
                "1 job pod, 0.25 cores, 3.0Mi (00:00:09 UTC, read up to 9.00s ago)",
                "",
                "NAMESPACE  JOB  POD     NODE    ELAPSED  CORES     CPU  MEMORY  MEM-PEAK  MAX-RSS  PROCS",
                "bench      -    sort-1  node-a    9.00s   0.25  2.50s*   3.0Mi         -   4.0Mi~      2",
                "",
                "* rusage: wait4 of the process and the children it waited for   ~ sampled: the largest seen, a lower bound",
            ]
        );
    }
}
