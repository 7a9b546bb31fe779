//! Numbers as people write them.

/// In which units a table or a list of values speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Units {
    /// 66.7ms, 401.0Mi, 500m
    Human,
    /// Seconds, bytes, millicores, ratios, RFC 3339
    Base,
    /// As sacct prints them: 00:01:02, 00:00.066, 410624K, local time
    Slurm,
}

/// `0.41ms`, `66.7ms`, `12.34s`, `3m12s`, `1h02m`, `2d03h`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let magnitude = value.abs();
    if value == 0.0 {
        return "0s".to_owned();
    }
    // Each limit leaves room for rounding up, so that `60.00s` or `1000.0ms` cannot appear.
    if magnitude < 0.000_5 {
        format!("{:.0}µs", value * 1e6)
    } else if magnitude < 0.009_995 {
        format!("{:.2}ms", value * 1e3)
    } else if magnitude < 0.999_95 {
        format!("{:.1}ms", value * 1e3)
    } else if magnitude < 59.995 {
        format!("{value:.2}s")
    } else {
        let sign = if value < 0.0 { "-" } else { "" };
        let whole = whole_seconds(magnitude);
        let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
        match (days, hours) {
            (0, 0) => format!("{sign}{minutes}m{:02}s", whole % 60),
            (0, _) => format!("{sign}{hours}h{minutes:02}m"),
            _ => format!("{sign}{days}d{hours:02}h"),
        }
    }
}

/// To the nanosecond, which is as fine as the kernel counts: sums and quotients have digits behind it that mean nothing.
pub(super) fn decimal(value: f64) -> f64 {
    const PLACES: f64 = 1e9;
    // Beyond that a number has no such digits.
    if value.abs() < 1e6 { (value * PLACES).round() / PLACES } else { value }
}

/// `512`, `4.0Ki`, `401.0Mi`, `16.8Gi`.
pub fn bytes(value: u64) -> String {
    const STEPS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if value < 1024 {
        return value.to_string();
    }
    let mut scaled = value as f64;
    let mut step = 0;
    while scaled >= 1023.95 && step + 1 < STEPS.len() {
        scaled /= 1024.0;
        step += 1;
    }
    format!("{scaled:.1}{}", STEPS[step])
}

/// `64Mi`, `1536Mi`: as Kubernetes writes it, to be pasted into a manifest; with a digit after the point where it is not whole.
pub fn quantity(value: u64) -> String {
    let whole = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)]
        .into_iter()
        .find(|(_, step)| value > 0 && value.is_multiple_of(*step));
    whole.map_or_else(|| bytes(value), |(unit, step)| format!("{}{unit}", value / step))
}

/// `500m`, `2`, `1500m`: as Kubernetes writes a CPU quantity.
pub fn cores(millicores: u64) -> String {
    if millicores.is_multiple_of(1000) { (millicores / 1000).to_string() } else { format!("{millicores}m") }
}

/// A ratio as `12.8%`; very small ones keep a digit that says something.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent != 0.0 && percent.abs() < 0.1 { format!("{percent:.2}%") } else { format!("{percent:.1}%") }
}

/// `[D-]HH:MM:SS`, sacct's `Elapsed`.
pub(super) fn slurm_elapsed(value: f64) -> String {
    let whole = whole_seconds(value);
    let (days, clock) = (whole / 86_400, whole % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", clock / 3_600, clock / 60 % 60, clock % 60);
    if days > 0 { format!("{days}-{clock}") } else { clock }
}

/// `MM:SS.mmm` below an hour, `[D-]HH:MM:SS` above, sacct's `TotalCPU`.
pub(super) fn slurm_cpu(value: f64) -> String {
    if value >= 3_600.0 {
        return slurm_elapsed(value);
    }
    let thousandths = (value.max(0.0) * 1e3).round() as u64;
    format!("{:02}:{:02}.{:03}", thousandths / 60_000, thousandths / 1_000 % 60, thousandths % 1_000)
}

/// The cast saturates: a negative or absurd time becomes 0 or the largest number, never a panic.
fn whole_seconds(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_keep_three_useful_digits_from_microseconds_to_days() {
        let shown: Vec<String> =
            [0.0, 0.000_41, 0.000_5, 0.004_1, 0.066_7, 0.999_9, 0.999_96, 12.34, 59.994, 59.999, 192.0, 3_723.0, 183_600.0]
                .into_iter()
                .map(seconds)
                .collect();
        assert_eq!(
            shown,
            [
                "0s", "410µs", "0.50ms", "4.10ms", "66.7ms", "999.9ms", "1.00s", "12.34s", "59.99s", "1m00s", "3m12s", "1h02m",
                "2d03h"
            ]
        );
    }

    #[test]
    fn sizes_never_show_1024_of_the_smaller_unit() {
        assert_eq!(bytes(0), "0");
        assert_eq!(bytes(1023), "1023");
        assert_eq!(bytes(4096), "4.0Ki");
        assert_eq!(bytes(1_048_575), "1.0Mi");
        assert_eq!(bytes(420_478_976), "401.0Mi");
        assert_eq!(bytes(u64::MAX), "16.0Ei");
    }

    #[test]
    fn a_request_reads_as_it_is_written_in_a_manifest() {
        assert_eq!([64 << 20, 3 << 29, 4096, 1000, 0, 2 << 30].map(quantity), ["64Mi", "1536Mi", "4Ki", "1000", "0", "2Gi"]);
    }

    #[test]
    fn sacct_times_are_read_by_scripts_of_slurm_users() {
        assert_eq!(slurm_elapsed(62.4), "00:01:02");
        assert_eq!(slurm_elapsed(183_600.0), "2-03:00:00");
        assert_eq!(slurm_cpu(0.0667), "00:00.067");
        assert_eq!(slurm_cpu(62.5), "01:02.500");
        assert_eq!(slurm_cpu(7_262.5), "02:01:03");
    }

    #[test]
    fn numbers_for_programs_have_no_binary_noise() {
        let shown =
            [0.018_202_001_000_000_002, 0.1 + 0.2, 1.0 / 3.0, 12.0, 86_400.000_000_001].map(|value| decimal(value).to_string());
        assert_eq!(shown, ["0.018202001", "0.3", "0.333333333", "12", "86400.000000001"]);
    }

    proptest! {
        #[test]
        fn no_number_panics(value: f64, size: u64) {
            seconds(value);
            decimal(value);
            bytes(size);
            cores(size);
            percent(value);
            slurm_elapsed(value);
            slurm_cpu(value);
        }
    }
}
