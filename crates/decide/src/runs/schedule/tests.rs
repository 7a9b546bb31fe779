use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next `count` times after that one.
fn next(schedule: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule).unwrap();
    let mut at = time(from);
    let step = |_| {
        at = schedule.after(at).unwrap();
        at.to_string()
    };
    (0..count).map(step).collect()
}

fn why(schedule: &str) -> String {
    Schedule::parse(schedule).unwrap_err().why
}

#[test]
fn five_fields_are_read_as_the_original_reads_them() {
    let from = "2026-11-21T20:21:03Z"; // a Saturday
    assert_eq!(next("*/15 * * * *", from, 2), ["2026-11-21T20:30:00Z", "2026-11-21T20:45:00Z"]);
    assert_eq!(next("5/20 1,3-4 * * *", from, 4)[2..], ["2026-11-22T01:45:00Z", "2026-11-22T03:05:00Z"]);
    assert_eq!(next("0 0 ? JAN-feb Mon", from, 1), ["2027-01-04T00:00:00Z"]);
    assert_eq!(next("0 12 * * 7", from, 1), next("0 12 * * sun", from, 1));
    assert_eq!(next("0 0 1 * 5", from, 3), ["2026-11-27T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-04T00:00:00Z"]);
    assert_eq!(next("0 0 1 * *", from, 1), ["2026-12-01T00:00:00Z"]);
    assert_eq!(next("0 0 29 2 *", from, 1), ["2028-02-29T00:00:00Z"]);
}

#[test]
fn names_of_schedules_mean_what_they_say() {
    let from = "2026-11-21T20:21:03Z";
    for (name, at) in [
        ("@hourly", "2026-11-21T21:00:00Z"),
        ("@daily", "2026-11-22T00:00:00Z"),
        ("@midnight", "2026-11-22T00:00:00Z"),
        ("@weekly", "2026-11-22T00:00:00Z"),
        ("@monthly", "2026-12-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@annually", "2027-01-01T00:00:00Z"),
        ("@every 1h30m", "2026-11-21T21:51:03Z"),
        ("@every 1h30m10s", "2026-11-21T21:51:13Z"),
    ] {
        assert_eq!(next(name, from, 1), [at], "{name}");
    }
}

#[test]
fn a_time_zone_may_stand_before_it() {
    assert_eq!(next("CRON_TZ=Asia/Tokyo 0 6 * * *", "2026-11-21T20:21:03Z", 1), ["2026-11-21T21:00:00Z"]);
    assert_eq!(next("TZ=Europe/Berlin @daily", "2026-11-21T20:21:03Z", 1), ["2026-11-21T23:00:00Z"]);
    assert!(why("CRON_TZ=Europe/Atlantis 0 6 * * *").contains("Europe/Atlantis"));
    assert!(why("CRON_TZ=Europe/Berlin").contains("nothing follows"));
}

#[test]
fn a_time_of_day_that_is_skipped_or_comes_twice_is_due_once() {
    // Berlin: 2026-03-29 02:00 becomes 03:00 (01:00 UTC); 2026-10-25 03:00 becomes 02:00 (01:00 UTC).
    let daily = "CRON_TZ=Europe/Berlin 30 2 * * *";
    assert_eq!(next(daily, "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    assert_eq!(next(daily, "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    let hourly = "CRON_TZ=Europe/Berlin 0 * * * *";
    assert_eq!(next(hourly, "2026-03-29T00:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    assert_eq!(next(hourly, "2026-10-24T23:30:00Z", 3), ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]);
}

#[test]
fn what_is_no_schedule_says_why() {
    assert!(why("0 0 12 * * *").contains("seconds are not supported"));
    assert!(why("0 0 12 *").contains("4 fields"));
    assert!(why("").contains("0 fields"));
    assert!(why("61 * * * *").contains("minute"));
    assert!(why("* 24 * * *").contains("hour"));
    assert!(why("* * 0 * *").contains("day of the month"));
    assert!(why("* * * MON *").contains("month"));
    assert!(why("*/0 * * * *").contains("step"));
    assert!(why("* * * * fri-mon").contains("ends before it begins"));
    assert!(why("0 0 L * *").contains("day of the month"));
    assert!(why("0 0 30 2 *").contains("no day"));
    assert!(why("@reboot").contains("@every"));
    assert!(why("@every 500ms").contains("one second"));
    assert!(why("@every -1h").contains("one second"));
    assert!(why("@every soon").contains("no duration"));
}

#[test]
fn of_many_missed_times_the_last_is_found() {
    let latest =
        |text: &str, from: &str, to: &str| Schedule::parse(text).unwrap().latest(time(from), time(to)).map(|at| at.to_string());
    assert_eq!(latest("@every 7s", "2026-01-01T00:00:00Z", "2026-11-21T00:00:05Z").as_deref(), Some("2026-11-21T00:00:02Z"));
    assert_eq!(latest("@hourly", "2025-01-01T00:00:00Z", "2026-11-21T00:30:00Z").as_deref(), Some("2026-11-21T00:00:00Z"));
    assert_eq!(latest("0 0 1 1 *", "2024-06-01T00:00:00Z", "2026-11-21T00:30:00Z").as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(latest("@hourly", "2026-11-21T00:00:00Z", "2026-11-21T00:59:59Z"), None);
    assert_eq!(latest("@hourly", "2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z").as_deref(), Some("2026-11-21T01:00:00Z"));
}
