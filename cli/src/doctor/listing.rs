//! Capabilities for people: one machine as a list, a cluster as a table.

use std::io::{self, Write};

use jiff::Timestamp;
use jobmeter_protocol::{Capability, CapabilityState, NodeStatus};

use crate::output::{Align, Grid, printable, seconds};

pub(super) fn machine(status: &NodeStatus, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: kernel {}, jobmeter {}\n", printable(&status.node), printable(&status.kernel), status.agent_version)?;
    capabilities("CAPABILITY", &status.capabilities, out)?;
    let missing = missing(&status.capabilities).count();
    let active = status.capabilities.len() - missing;
    writeln!(
        out,
        "\n{active} of {} capabilities. `jobmeter doctor --prove` compares the figures with known workloads.",
        status.capabilities.len()
    )
}

/// One line each; `what` they are called.
pub(super) fn capabilities(what: &'static str, capabilities: &[Capability], out: &mut dyn Write) -> io::Result<()> {
    let columns = [("", Align::Left), (what, Align::Left), ("WHAT WAS FOUND, OR WHAT IS MISSING AND WHAT IT COSTS", Align::Left)];
    let mut grid = Grid::new(columns);
    for capability in capabilities {
        grid.row([
            sign(capability.state).to_owned(),
            printable(&capability.name).into_owned(),
            printable(&capability.detail).into_owned(),
        ]);
    }
    grid.write(true, out)
}

pub(super) fn nodes(nodes: &[NodeStatus], now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if nodes.is_empty() {
        return writeln!(out, "no agent has reported yet");
    }
    let mut grid = Grid::new([
        ("NODE", Align::Left),
        ("HEARD", Align::Right),
        ("AGENT", Align::Left),
        ("KERNEL", Align::Left),
        ("CGROUPS", Align::Left),
        ("MISSING", Align::Left),
    ]);
    for node in nodes {
        let detail =
            |name: &str| node.capabilities.iter().find(|capability| capability.name == name).map(|found| found.detail.as_str());
        let missing: Vec<&str> = missing(&node.capabilities).map(|capability| capability.name.as_str()).collect();
        let heard = now.duration_since(node.last_heartbeat).as_secs_f64().max(0.0);
        grid.row([
            printable(&node.node).into_owned(),
            format!("{} ago", seconds(heard.round())),
            printable(&node.agent_version).into_owned(),
            printable(&node.kernel).into_owned(),
            printable(detail("cgroups").unwrap_or("-")).into_owned(),
            if missing.is_empty() { "nothing".to_owned() } else { printable(&missing.join(", ")).into_owned() },
        ]);
    }
    grid.write(true, out)
}

fn missing(capabilities: &[Capability]) -> impl Iterator<Item = &Capability> {
    capabilities.iter().filter(|capability| capability.state != CapabilityState::Active)
}

const fn sign(state: CapabilityState) -> &'static str {
    match state {
        CapabilityState::Active => "yes",
        CapabilityState::Disabled => "off",
        CapabilityState::Unsupported => "no",
        CapabilityState::Failed => "FAIL",
    }
}
