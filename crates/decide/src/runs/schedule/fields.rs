//! The five fields as robfig/cron's standard parser reads them, written so that every parser of cron reads the same.
//!
//! In: the fields. Out: the same in numbers, or which field is wrong and why.

struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    /// The first of them stands for `first`.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of the month", first: 1, last: 31, names: &[] },
    Field {
        name: "month",
        first: 1,
        last: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // 7 is Sunday as well.
    Field { name: "day of the week", first: 0, last: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

pub(super) fn canonical(text: &str) -> Result<String, String> {
    let written: Vec<_> = text.split_whitespace().collect();
    match written.len() {
        5 => {}
        6 => return Err("it has six fields: seconds are not supported, leave out the first".to_owned()),
        count => return Err(format!("it has {count} fields, and not the five: minute, hour, day, month, day of the week")),
    }
    let fields: Result<Vec<_>, _> = FIELDS.iter().zip(written).map(|(field, text)| field.canonical(text)).collect();
    Ok(fields?.join(" "))
}

impl Field {
    fn canonical(&self, text: &str) -> Result<String, String> {
        let items: Result<Vec<_>, _> = text.split(',').map(|item| self.item(item)).collect();
        let items = items.map_err(|why| format!("{text:?} is no {}: {why}", self.name))?;
        // One that means all makes all of it mean all; the other day field then decides alone.
        Ok(if items.iter().any(|item| item == "*") { "*".to_owned() } else { items.join(",") })
    }

    fn item(&self, item: &str) -> Result<String, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let step =
            step.map(|step| step.parse().ok().filter(|step: &u8| *step > 0).ok_or(format!("{step:?} is no step"))).transpose()?;
        let last = if self.last == 7 { 6 } else { self.last };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (self.first, last),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            // `5/15` goes on to the end.
            None if step.is_some() => (self.number(range)?, last),
            None => return self.number(range).map(|number| number.to_string()),
        };
        if from > to {
            return Err(format!("{range:?} ends before it begins"));
        }
        Ok(match step {
            None | Some(1) if from == self.first && to == last && !range.contains('-') => "*".to_owned(),
            None | Some(1) => format!("{from}-{to}"),
            Some(step) => self.stepped(from, to, step),
        })
    }

    fn stepped(&self, from: u8, to: u8, step: u8) -> String {
        let numbers: Vec<_> = (from..=to).step_by(step.into()).map(|number| number.to_string()).collect();
        numbers.join(",")
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(index) = self.names.iter().position(|name| *name == lower) {
            return Ok(self.first + u8::try_from(index).unwrap_or(u8::MAX));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (self.first..=self.last).contains(number));
        number.ok_or(format!("{text:?} is none of {} to {}", self.first, self.last))
    }
}
