//! Dates as bundles write them: ISO mostly, and whatever Python's `dateutil` reads besides, month first.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// A point in time, and what had to be assumed to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub at: DateTime<Utc>,
    /// As “no zone: UTC”; empty where the text says all.
    pub assumed: Vec<&'static str>,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// `None`: no date that is known.
pub fn read(text: &str) -> Option<Read> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    let mut assumed = Vec::new();
    // `2018-11-15T12:00` is the one form in which a letter ties date and time together.
    let spaced = match text.split_once(['T', 't']) {
        Some((date, time))
            if date.ends_with(|c: char| c.is_ascii_digit()) && time.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            format!("{date} {time}")
        }
        _ => text.to_owned(),
    };
    let words: Vec<&str> = spaced.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let (date, used) = date(&words, &mut assumed)?;
    if !(1970..=9999).contains(&date.year()) {
        return None;
    }
    let rest = &words[used..];
    let (time, zone) = match rest.is_empty() {
        true => {
            assumed.push("no time of day: midnight, as the day begins");
            (NaiveTime::MIN, None)
        }
        false => time(rest)?,
    };
    if zone.is_none() {
        assumed.push("no zone: UTC");
    }
    let local = NaiveDateTime::new(date, time);
    let zone = zone.unwrap_or(FixedOffset::east_opt(0)?);
    Some(Read { at: local.and_local_timezone(zone).single()?.to_utc(), assumed })
}

/// The day, and of how many words it is made.
fn date(words: &[&str], assumed: &mut Vec<&'static str>) -> Option<(NaiveDate, usize)> {
    let first = words.first()?;
    let parts: Vec<&str> = first.split(['-', '/', '.']).collect();
    if let [a, b, c] = parts[..] {
        let number = |text: &str| text.parse::<i32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let year = |text: &str| number(text).map(|year| if text.len() <= 2 { 2000 + year } else { year });
        let day = |year: i32, month: i32, day: i32| NaiveDate::from_ymd_opt(year, month as u32, day as u32);
        if a.len() == 4 {
            return Some((day(number(a)?, month(b).or(number(b))?, number(c)?)?, 1));
        }
        if let Some(named) = month(b) {
            return Some((day(year(c)?, named, number(a)?)?, 1));
        }
        let (a, b, c) = (number(a)?, number(b)?, year(c)?);
        if a > 12 {
            return Some((day(c, b, a)?, 1));
        }
        if b <= 12 && a != b {
            assumed.push("read as month, day, year");
        }
        return Some((day(c, a, b)?, 1));
    }
    // In words: `September 1, 2020`, `1 September 2020`.
    let [a, b, c] = words.get(..3)?.try_into().ok()?;
    let (named, day) = match (month(a), month(b)) {
        (Some(named), _) => (named, b),
        (None, Some(named)) => (named, a),
        _ => return None,
    };
    let day = day.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()?;
    Some((NaiveDate::from_ymd_opt(c.parse().ok()?, named as u32, day)?, 3))
}

fn month(text: &str) -> Option<i32> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    let found = MONTHS.iter().position(|name| text.len() >= 3 && text.starts_with(name))?;
    Some(found as i32 + 1)
}

fn time(words: &[&str]) -> Option<(NaiveTime, Option<FixedOffset>)> {
    let mut clock = words.first()?.to_ascii_lowercase();
    let mut rest = words[1..].iter().map(|word| word.to_ascii_lowercase()).collect::<Vec<_>>();
    // A zone, or half of the day, that stands at the time without a space.
    let digits = clock.find(|c: char| !matches!(c, '0'..='9' | ':' | '.')).unwrap_or(clock.len());
    if digits < clock.len() {
        rest.insert(0, clock.split_off(digits));
    }
    let half = rest.first().filter(|word| matches!(word.as_str(), "am" | "pm" | "a.m." | "p.m.")).cloned();
    if half.is_some() {
        rest.remove(0);
    }
    let mut parts = clock.split(':');
    let mut hour: u32 = parts.next()?.parse().ok()?;
    let minute: u32 = parts.next().map_or(Some(0), |text| text.parse().ok())?;
    let second: f64 = parts.next().map_or(Some(0.0), |text| text.parse().ok())?;
    if parts.next().is_some() || half.is_none() && !clock.contains(':') {
        return None;
    }
    if let Some(half) = half {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if half.starts_with('p') { 12 } else { 0 };
    }
    let time = NaiveTime::from_hms_opt(hour, minute, (0.0..60.0).contains(&second).then_some(second as u32)?)?;
    let zone = match &rest[..] {
        [] => None,
        [zone] => Some(offset(zone)?),
        _ => return None,
    };
    Some((time, zone))
}

fn offset(text: &str) -> Option<FixedOffset> {
    let text = text.trim_matches(['(', ')']);
    if matches!(text, "z" | "utc" | "gmt") {
        return FixedOffset::east_opt(0);
    }
    let text = text.strip_prefix("utc").or(text.strip_prefix("gmt")).unwrap_or(text);
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.parse::<i32>().ok()?, 0),
        4 => (digits[..2].parse::<i32>().ok()?, digits[2..].parse::<i32>().ok()?),
        _ => return None,
    };
    FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_bundles_write_them() {
        let cases = [
            ("2018-11-15", "2018-11-15T00:00:00Z", 2),
            ("2017-10-22 18:53:00+00:00", "2017-10-22T18:53:00Z", 0),
            ("2017-10-22T18:53:00.500Z", "2017-10-22T18:53:00Z", 0),
            ("2019-12-12 13:30:00", "2019-12-12T13:30:00Z", 1),
            ("2020-06-01 00:00:00 +0200", "2020-05-31T22:00:00Z", 0),
            ("2020-06-01 12:00 UTC", "2020-06-01T12:00:00Z", 0),
            ("05/08/2020", "2020-05-08T00:00:00Z", 3),
            ("05/08/20 11:59 PM", "2020-05-08T23:59:00Z", 2),
            ("13/08/2020 9pm", "2020-08-13T21:00:00Z", 1),
            ("12-31-2018 12:00", "2018-12-31T12:00:00Z", 1),
            ("September 1, 2020", "2020-09-01T00:00:00Z", 2),
            ("1st Sep 2020 23:59:59 GMT+1", "2020-09-01T22:59:59Z", 0),
            ("15-Nov-2018", "2018-11-15T00:00:00Z", 2),
        ];
        for (text, expected, assumed) in cases {
            let read = read(text).unwrap_or_else(|| panic!("{text}"));
            let at = read.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            assert_eq!((at.as_str(), read.assumed.len()), (expected, assumed), "{text}: {:?}", read.assumed);
        }
        let wrong = ["", "soon", "2018-13-01", "2018-02-30", "31/31/2020", "2020-01-01 25:00", "2020-01-01 1 2 3"];
        let odd = ["99999999999-01-01", "2020-01-01 +", "--", "2020-01-01 é", "0001-01-01", "2020-01-01 12:00 +99999"];
        for text in wrong.into_iter().chain(odd) {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
