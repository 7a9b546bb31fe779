//! When a definition's runs are due: five fields, `@hourly` and its kin, `@every 1h30m`, each with `CRON_TZ=Zone` before it.
//!
//! In: the text. Out: the times. Where clocks are put forward or back: a time of day that is skipped is due once, when the gap is
//! over, and one that comes twice is due the first time only. A schedule of many times a day (`*/10 * * * *`, `0 * * * *`) goes by
//! what passes instead: nothing is made up for the hour that is skipped, and the hour that comes twice is served twice.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, Unit};

mod fields;

/// Due times that are looked at one by one; of more only the last is looked for.
const MOST_STEPS: usize = 2_000;

#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Every(SignedDuration),
    Cron { cron: Box<Cron>, zone: TimeZone },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no schedule: {why}")]
pub struct ScheduleError {
    pub text: String,
    pub why: String,
}

impl Schedule {
    /// In UTC where no time zone is written.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let rule = rule(text.trim()).map_err(|why| ScheduleError { text: text.to_owned(), why })?;
        let schedule = Self { text: text.trim().to_owned(), rule };
        // 29 February comes within eight years.
        let begin = Timestamp::UNIX_EPOCH;
        match schedule.after(begin) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError { text: text.to_owned(), why: "there is no day on which it is due".to_owned() }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after that one; of `@every`, counted from it. `None`: there is none any more.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every(every) => whole_seconds(time).checked_add(*every).ok(),
            Rule::Cron { cron, zone } => {
                let next = cron.find_next_occurrence(&time.to_zoned(zone.clone()), false).ok()?;
                Some(whole_seconds(next.timestamp()))
            }
        }
    }

    /// The last that is due after `seen_to` and not after `now`.
    pub fn latest(&self, seen_to: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let mut latest = self.after(seen_to).filter(|due| *due <= now)?;
        if let Rule::Every(every) = &self.rule {
            let more = now.duration_since(latest).as_secs() / every.as_secs().max(1);
            return latest.checked_add(SignedDuration::from_secs(more * every.as_secs())).ok();
        }
        for _ in 0..MOST_STEPS {
            match self.after(latest).filter(|due| *due <= now) {
                Some(due) => latest = due,
                None => return Some(latest),
            }
        }
        let Rule::Cron { cron, zone } = &self.rule else { return Some(latest) };
        let last = cron.find_previous_occurrence(&now.to_zoned(zone.clone()), true).ok();
        Some(last.map_or(latest, |last| whole_seconds(last.timestamp()).max(latest)))
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    let (zone, text) = zone(text)?;
    if let Some(every) = text.strip_prefix("@every") {
        return every_rule(every.trim()).map(Rule::Every);
    }
    let text = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other if other.starts_with('@') => {
            return Err("there are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and @every".to_owned());
        }
        fields => fields,
    };
    let cron = Cron::from_str(&fields::canonical(text)?).map_err(|err| err.to_string())?;
    Ok(Rule::Cron { cron: Box::new(cron), zone })
}

fn zone(text: &str) -> Result<(TimeZone, &str), String> {
    let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) else { return Ok((TimeZone::UTC, text)) };
    let (name, rest) = rest.split_once(char::is_whitespace).ok_or("nothing follows the time zone")?;
    let zone = TimeZoneDatabase::bundled().get(name);
    let zone = zone.map_err(|_| format!("there is no time zone {name:?}; an example of one is Europe/Berlin"))?;
    Ok((zone, rest.trim_start()))
}

fn every_rule(text: &str) -> Result<SignedDuration, String> {
    let every: SignedDuration = text.parse().map_err(|_| format!("{text:?} is no duration; an example of one is 1h30m"))?;
    if every < SignedDuration::from_secs(1) {
        return Err("@every must be one second at least".to_owned());
    }
    Ok(SignedDuration::from_secs(every.as_secs()))
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    // Fails only at the edge of what a timestamp can hold.
    time.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor)).unwrap_or(time)
}

#[cfg(test)]
mod tests;
