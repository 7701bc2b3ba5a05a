//! Dates as bundles write them: ISO mostly, and whatever Python's `dateutil` reads besides. What has two readings, or none, is not
//! guessed: the reason says what to write.

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike, Days, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone,
    Utc,
};

/// A point in time, and what had to be assumed to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub at: DateTime<Utc>,
    /// As “no zone: UTC”; empty where the text says all.
    pub assumed: Vec<String>,
}

/// Which of day and month the dates of a file write first, where they are numbers. One file has one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// No date of the file tells.
    Unknown,
    /// This date tells: its second number is no month.
    MonthFirst(String),
    /// This date tells: its first number is no month.
    DayFirst(String),
    /// These two contradict each other.
    Mixed(String, String),
}

/// In full; what is written short begins so.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Zones whose letters mean one thing, and their hours from UTC.
const ZONES: [(&str, i32); 12] = [
    ("aoe", -12),
    ("utc", 0),
    ("gmt", 0),
    ("z", 0),
    ("wet", 0),
    ("cet", 1),
    ("cest", 2),
    ("eet", 2),
    ("eest", 3),
    ("msk", 3),
    ("hkt", 8),
    ("jst", 9),
];
/// Letters that mean several, and what.
const SEVERAL: [(&str, &str); 12] = [
    ("cst", "China's, Cuba's or North America's central time"),
    ("cdt", "Cuba's or North America's central time"),
    ("pst", "North America's Pacific or the Philippines' time"),
    ("ist", "India's, Ireland's or Israel's time"),
    ("bst", "Britain's summer or Bangladesh's time"),
    ("est", "North America's or Australia's eastern time"),
    ("edt", "North America's or Australia's eastern time"),
    ("ast", "Arabia's or the Atlantic time"),
    ("mst", "North America's mountain or Malaysia's time"),
    ("sst", "Singapore's or Samoa's time"),
    ("gst", "the Gulf's or South Georgia's time"),
    ("amt", "Armenia's or the Amazon's time"),
];
/// Days from this one on are what Excel stores of a date.
const EXCEL: Option<NaiveDate> = NaiveDate::from_ymd_opt(1899, 12, 30);

const WRITE: &str = "write it as 2030-07-10T23:59:00Z";

/// What the dates of a file tell of their order.
pub fn order<'a>(texts: impl IntoIterator<Item = &'a str>) -> Order {
    let mut order = Order::Unknown;
    for text in texts {
        let told = match numbers(text) {
            Some((a, b)) if a > 12 && b <= 12 => Order::DayFirst(text.trim().to_owned()),
            Some((a, b)) if b > 12 && a <= 12 => Order::MonthFirst(text.trim().to_owned()),
            _ => continue,
        };
        order = match (order, told) {
            (Order::Unknown, told) => told,
            (Order::DayFirst(day), Order::MonthFirst(month)) | (Order::MonthFirst(month), Order::DayFirst(day)) => {
                return Order::Mixed(day, month);
            }
            (same, _) => same,
        };
    }
    order
}

/// The first two numbers of a date that ends with its year.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let first = split(text).into_iter().find(|word| !is_weekday(word))?;
    let [a, b, c] = first.split(['-', '/', '.']).collect::<Vec<_>>()[..] else { return None };
    (a.len() <= 2 && matches!(c.len(), 2 | 4)).then_some(())?;
    Some((number(a)?, number(b)?))
}

/// Its words. A `T` between digits parts date and time.
fn split(text: &str) -> Vec<String> {
    let spaced = match text.trim().split_once(['T', 't']) {
        Some((date, time))
            if date.ends_with(|c: char| c.is_ascii_digit()) && time.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            format!("{date} {time}")
        }
        _ => text.to_owned(),
    };
    let words = spaced.split([' ', ',', '\t']).filter(|word| !matches!(*word, "" | "at" | "At"));
    words.map(str::to_owned).collect()
}

/// The reason, where there is no reading or more than one, is the end of a sentence that begins with the text.
pub fn read(text: &str, order: &Order) -> Result<Read, String> {
    let text = text.trim();
    let unknown = || format!("is no date that is known: {WRITE}");
    if text.len() > 64 || !text.is_ascii() {
        return Err(unknown());
    }
    if let Some(why) = bare_number(text) {
        return Err(why);
    }
    let mut words = split(text);
    if words.first().is_some_and(|word| is_weekday(word)) {
        words.remove(0);
    }
    // A time that stands before its day.
    if words.first().is_some_and(|word| word.contains(':')) {
        let halved = words.get(1).is_some_and(|word| half_of_day(word).is_some());
        let clock: Vec<String> = words.drain(..if halved { 2 } else { 1 }).collect();
        let day = if words.first().is_some_and(|word| word.contains(['-', '/', '.'])) { 1 } else { 3 };
        let at = day.min(words.len());
        words.splice(at..at, clock);
    }
    let mut assumed = Vec::new();
    let (date, used) = date(&words, order, &mut assumed)?;
    if !(1970..2200).contains(&date.year()) {
        return Err(format!("is not in the years 1970 to 2199: {WRITE}"));
    }
    let rest = &words[used..];
    let (date, time, zone) = match rest.is_empty() {
        true => {
            assumed.push("no time of day: midnight, as the day begins".into());
            (date, NaiveTime::MIN, None)
        }
        false => {
            let (clock, zone) = clock_and_zone(rest).ok_or_else(unknown)?;
            let zone = zone_of(&zone, &mut assumed)?;
            match clock {
                Clock::At(time) => (date, time, zone),
                Clock::EndOfDay => {
                    assumed.push("24:00 is 0:00 of the next day".into());
                    (date.checked_add_days(Days::new(1)).ok_or_else(unknown)?, NaiveTime::MIN, zone)
                }
            }
        }
    };
    let local = NaiveDateTime::new(date, time);
    let at = match zone {
        None => {
            assumed.push("no zone: UTC".into());
            local.and_utc()
        }
        Some(Zone::Fixed(offset)) => local.and_local_timezone(offset).single().ok_or_else(unknown)?.to_utc(),
        Some(Zone::Named(zone)) => match zone.from_local_datetime(&local) {
            LocalResult::Single(at) => at.to_utc(),
            // The clocks go back: the later one, so that nobody who reads the earlier one is late.
            LocalResult::Ambiguous(_, later) => later.to_utc(),
            LocalResult::None => {
                return Err(format!("does not exist in {zone}, where the clocks go forward then: {WRITE}"));
            }
        },
    };
    Ok(Read { at, assumed })
}

/// Why a number is not read, and what it may be.
fn bare_number(text: &str) -> Option<String> {
    // `20300710` is a day in ISO's basic form.
    if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    let excel = EXCEL.and_then(|day| {
        day.and_time(NaiveTime::MIN).checked_add_signed(chrono::TimeDelta::milliseconds((number * 86_400e3) as i64))
    });
    let guess = match number {
        n if (20_000.0..110_000.0).contains(&n) => excel.map(|at| format!("; as a day of Excel it is {at}")),
        n if (0.0..7e9).contains(&n) && text.len() >= 9 => {
            let at = DateTime::from_timestamp(n as i64, 0)?;
            Some(format!("; in seconds since 1970 it is {}", at.to_rfc3339_opts(SecondsFormat::Secs, true)))
        }
        _ => None,
    };
    Some(format!("is a number and no date{}: {WRITE}", guess.unwrap_or_default()))
}

/// The day, and of how many words it is made.
fn date(words: &[String], order: &Order, assumed: &mut Vec<String>) -> Result<(NaiveDate, usize), String> {
    let unknown = || format!("is no date that is known: {WRITE}");
    let no_year = || format!("states no year: {WRITE}");
    let no_day = || format!("names a day that does not exist: {WRITE}");
    let day = |year: u32, month: u32, day: u32| {
        let year = i32::try_from(year).ok();
        year.and_then(|year| NaiveDate::from_ymd_opt(year, month, day)).ok_or_else(no_day)
    };
    let first = words.first().ok_or_else(unknown)?;
    if first.len() == 8
        && let Some(whole) = number(first)
    {
        return Ok((day(whole / 10_000, whole / 100 % 100, whole % 100)?, 1));
    }
    let separators: BTreeSet<char> = first.chars().filter(|c| matches!(c, '-' | '/' | '.')).collect();
    let parts: Vec<&str> = first.split(['-', '/', '.']).collect();
    match parts[..] {
        [a, b, c] if separators.len() == 1 => {
            if a.len() == 4 {
                let of_year = number(a).zip(month(b).or(number(b))).zip(number(c)).ok_or_else(unknown)?;
                let ((year, month), of_month) = of_year;
                return Ok((day(year, month, of_month)?, 1));
            }
            let year = match c.len() {
                4 => number(c).ok_or_else(unknown)?,
                2 if separators.contains(&'/') || separators.contains(&'.') => 2000 + number(c).ok_or_else(unknown)?,
                2 => {
                    return Err(format!(
                        "has a year of two digits, which may be the first or the last of its numbers: {WRITE}"
                    ));
                }
                _ => return Err(unknown()),
            };
            if let Some(named) = month(b) {
                return Ok((day(year, named, number(a).ok_or_else(unknown)?)?, 1));
            }
            let (a, b) = number(a).zip(number(b)).ok_or_else(unknown)?;
            let day_first = match (a > 12, b > 12, order) {
                (true, ..) => true,
                (_, true, _) => false,
                _ if a == b => false,
                (_, _, Order::DayFirst(told)) => {
                    assumed.push(format!("read as day, month, year, as “{told}” can only be"));
                    true
                }
                (_, _, Order::MonthFirst(told)) => {
                    assumed.push(format!("read as month, day, year, as “{told}” can only be"));
                    false
                }
                (_, _, Order::Mixed(one, other)) => {
                    let why = "may begin with the day or the month: the file writes both";
                    return Err(format!("{why}, “{one}” and “{other}”: {WRITE}"));
                }
                // As both platforms read it.
                (_, _, Order::Unknown) if separators.contains(&'/') => {
                    assumed.push("read as month, day, year".into());
                    false
                }
                (_, _, Order::Unknown) => return Err(format!("may begin with the day or the month: {WRITE}")),
            };
            let found = if day_first { day(year, b, a)? } else { day(year, a, b)? };
            return Ok((found, 1));
        }
        [a, b] if number(a).is_some() && (number(b).is_some() || month(b).is_some()) => return Err(no_year()),
        _ => {}
    }
    // In words: `September 1, 2020`, `1 September 2020`.
    let (named, of_month) = match (month(first), words.get(1).and_then(|word| month(word))) {
        (Some(named), _) => (named, words.get(1)),
        (None, Some(named)) => (named, Some(first)),
        _ => return Err(unknown()),
    };
    let of_month = of_month.ok_or_else(unknown)?.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let of_month = number(of_month).filter(|_| of_month.len() <= 2).ok_or_else(unknown)?;
    let year = words.get(2).filter(|year| year.len() == 4).and_then(|year| number(year)).ok_or_else(no_year)?;
    Ok((day(year, named, of_month)?, 3))
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// From 1.
fn month(text: &str) -> Option<u32> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    (1..).zip(MONTHS).find(|(_, name)| text.len() >= 3 && name.starts_with(&text)).map(|(n, _)| n)
}

fn is_weekday(text: &str) -> bool {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    text.len() >= 3 && WEEKDAYS.iter().any(|name| name.starts_with(&text))
}

/// `true`: the second half of the day.
fn half_of_day(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "am" | "a.m." => Some(false),
        "pm" | "p.m." => Some(true),
        _ => None,
    }
}

enum Clock {
    At(NaiveTime),
    /// 24:00.
    EndOfDay,
}

/// The time of day, and the words of the zone.
fn clock_and_zone(words: &[String]) -> Option<(Clock, Vec<String>)> {
    let mut clock = words.first()?.clone();
    let mut rest = words[1..].to_vec();
    // A zone, or half of the day, that stands at the time without a space.
    let digits = clock.find(|c: char| !matches!(c, '0'..='9' | ':' | '.')).unwrap_or(clock.len());
    if digits < clock.len() {
        rest.insert(0, clock.split_off(digits));
    }
    let half = rest.first().and_then(|word| half_of_day(word));
    if half.is_some() {
        rest.remove(0);
    }
    // `235900`, as ISO's basic form has it.
    if half.is_none() && !clock.contains(':') && matches!(clock.len(), 4 | 6) && number(&clock).is_some() {
        let pairs: Vec<&str> = (0..clock.len()).step_by(2).map(|at| &clock[at..at + 2]).collect();
        clock = pairs.join(":");
    }
    let mut parts = clock.split(':');
    let mut hour: u32 = parts.next()?.parse().ok()?;
    let minute: u32 = parts.next().map_or(Some(0), |text| text.parse().ok())?;
    let second: f64 = parts.next().map_or(Some(0.0), |text| text.parse().ok())?;
    if parts.next().is_some() || half.is_none() && !clock.contains(':') {
        return None;
    }
    if let Some(second_half) = half {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if second_half { 12 } else { 0 };
    }
    if (hour, minute, second) == (24, 0, 0.0) {
        return Some((Clock::EndOfDay, rest));
    }
    let time = NaiveTime::from_hms_opt(hour, minute, (0.0..60.0).contains(&second).then_some(second as u32)?)?;
    Some((Clock::At(time), rest))
}

enum Zone {
    Fixed(FixedOffset),
    Named(chrono_tz::Tz),
}

fn zone_of(words: &[String], assumed: &mut Vec<String>) -> Result<Option<Zone>, String> {
    let said = words.join(" ");
    let said = said.trim_matches(['(', ')', ' ', '.']);
    if said.is_empty() {
        return Ok(None);
    }
    let small = said.to_ascii_lowercase();
    let letters = if small == "anywhere on earth" { "aoe" } else { small.as_str() };
    let unknown = || format!("names a zone that is not known, “{said}”: {WRITE}, or with its offset, as +08:00");
    if let Some((_, hours)) = ZONES.iter().find(|(name, _)| *name == letters) {
        if !matches!(letters, "utc" | "gmt" | "z") {
            assumed.push(format!("{said} is UTC{hours:+03}:00"));
        }
        return FixedOffset::east_opt(hours * 3600).map(|offset| Some(Zone::Fixed(offset))).ok_or_else(unknown);
    }
    if let Some((_, what)) = SEVERAL.iter().find(|(name, _)| *name == letters) {
        return Err(format!("is in {said}, which is {what}: write the offset, as +08:00, in its place"));
    }
    // Names without a part are old ones, and some are letters that mean several.
    if said.contains('/')
        && let Ok(zone) = said.parse::<chrono_tz::Tz>()
    {
        return Ok(Some(Zone::Named(zone)));
    }
    offset(&small).map(|offset| Some(Zone::Fixed(offset))).ok_or_else(unknown)
}

/// `+08:00`, `utc+8`, `gmt -0330`.
fn offset(text: &str) -> Option<FixedOffset> {
    let text = text.strip_prefix("utc").or(text.strip_prefix("gmt")).unwrap_or(text).trim_start();
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    let whole = number(&digits)? as i32;
    let (hours, minutes) = match digits.len() {
        1 | 2 => (whole, 0),
        4 => (whole / 100, whole % 100),
        _ => return None,
    };
    // No clock is further from UTC.
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60 && seconds <= 14 * 3600).then(|| FixedOffset::east_opt(sign * seconds))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, order: &Order) -> (String, usize) {
        let read = read(text, order).unwrap_or_else(|why| panic!("{text} {why}"));
        (read.at.to_rfc3339_opts(SecondsFormat::Secs, true), read.assumed.len())
    }

    #[test]
    fn dates_are_read_as_bundles_write_them() {
        let cases = [
            ("2018-11-15", "2018-11-15T00:00:00Z", 2),
            ("2017-10-22 18:53:00+00:00", "2017-10-22T18:53:00Z", 0),
            ("2017-10-22T18:53:00.500Z", "2017-10-22T18:53:00Z", 0),
            ("20171022T185300Z", "2017-10-22T18:53:00Z", 0),
            ("2019-12-12 13:30:00", "2019-12-12T13:30:00Z", 1),
            ("2020-06-01 00:00:00 +0200", "2020-05-31T22:00:00Z", 0),
            ("2020-06-01 12:00 UTC", "2020-06-01T12:00:00Z", 0),
            ("05/08/2020", "2020-05-08T00:00:00Z", 3),
            ("05/08/20 11:59 PM", "2020-05-08T23:59:00Z", 2),
            ("13/08/2020 9pm", "2020-08-13T21:00:00Z", 1),
            ("12-31-2018 12:00", "2018-12-31T12:00:00Z", 1),
            ("September 1, 2020", "2020-09-01T00:00:00Z", 2),
            ("1st Sept 2020 23:59:59 GMT+1", "2020-09-01T22:59:59Z", 0),
            ("15-Nov-2018", "2018-11-15T00:00:00Z", 2),
            ("Fri, 20 Mar 2026 23:59:59 GMT", "2026-03-20T23:59:59Z", 0),
            ("23:59 March 20, 2026 UTC", "2026-03-20T23:59:00Z", 0),
            ("March 20, 2026 at 11:59 PM (UTC -12)", "2026-03-21T11:59:00Z", 0),
            ("2026-03-20 23:59:59 AoE", "2026-03-21T11:59:59Z", 1),
            ("2026-03-20 23:59:59 (Anywhere on Earth)", "2026-03-21T11:59:59Z", 1),
            ("2026-03-20 24:00:00", "2026-03-21T00:00:00Z", 2),
            ("2026-12-31T24:00:00Z", "2027-01-01T00:00:00Z", 1),
            ("2026-03-20 23:59:59 Asia/Shanghai", "2026-03-20T15:59:59Z", 0),
            ("2026-03-20 23:59:59 JST", "2026-03-20T14:59:59Z", 1),
        ];
        for (text, expected, assumed) in cases {
            assert_eq!(at(text, &Order::Unknown), (expected.to_owned(), assumed), "{text}");
        }
    }

    #[test]
    fn what_has_no_reading_or_two_says_why() {
        let cases = [
            ("2026-03-20 23:59:59 CST", "China's"),
            ("2026-03-20 23:59:59 PST", "Philippines"),
            ("2026-03-20 23:59:59 IST", "India's"),
            ("2026-03-20 23:59:59 BST", "Bangladesh"),
            ("2026-03-20 23:59:59 XYZ", "“XYZ”"),
            ("01.02.2026", "day or the month"),
            ("03-04-2026 12:00", "day or the month"),
            ("26-03-20", "two digits"),
            ("March 20", "no year"),
            ("20 March 23:59", "no year"),
            ("03/20 23:59", "no year"),
            ("46101.99", "2026-03-20"),
            ("1774051199", "2026-03-20T23:59:59Z"),
            ("2026-02-30", "does not exist"),
            ("2026-03-29 02:30 Europe/Paris", "clocks go forward"),
        ];
        for (text, why) in cases {
            let error = read(text, &Order::Unknown).expect_err(text);
            assert!(error.contains(why), "{text} {error}");
        }
        let wrong =
            ["", "soon", "2018-13-01", "31/31/2020", "2020-01-01 25:00", "2020-01-01 24:01", "2020-01-01 1 2 3"];
        let odd = [
            "99999999999-01-01",
            "2020-01-01 +",
            "--",
            "2020-01-01 é",
            "0001-01-01",
            "2020-01-01 12:00 +99999",
            "2026-03/20",
        ];
        for text in wrong.into_iter().chain(odd) {
            assert!(read(text, &Order::Unknown).is_err(), "{text}");
        }
    }

    #[test]
    fn one_file_has_one_order() {
        let told = order(["01.02.2026", "20.03.2026"]);
        assert_eq!(told, Order::DayFirst("20.03.2026".into()));
        assert_eq!(at("01.02.2026", &told).0, "2026-02-01T00:00:00Z");
        let told = order(["2026-01-01", "01/02/2026 12:00", "03/20/2026"]);
        assert_eq!(at("01/02/2026", &told).0, "2026-01-02T00:00:00Z");
        let told = order(["13/02/2026", "02/13/2026", "01/02/2026"]);
        assert!(read("01/02/2026", &told).expect_err("both").contains("writes both"));
        assert_eq!(at("02/13/2026", &told).0, "2026-02-13T00:00:00Z");
        assert_eq!(order(["2026-03-20", "March 20, 2026", "05/05/2026"]), Order::Unknown);
    }
}
