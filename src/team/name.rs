//! Names that people read: that they show all that they hold, and that none can be taken for another.

use sqlx::PgPool;
use unicode_security::skeleton;

/// A name without the white space around it; `None`: it holds something that is not seen, or a space that is not the plain one.
pub fn checked(name: &str) -> Option<&str> {
    let name = name.trim();
    let hidden = |c: char| c.is_control() || (c.is_whitespace() && c != ' ') || is_invisible(c);
    (!name.chars().any(hidden)).then_some(name)
}

/// Characters that show nothing or change how others are shown: formats, fillers, selectors of variants, and what has no
/// meaning outside of one program.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0x2800 | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffd | 0xe000..=0xf8ff
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff | 0xf_0000..=0x10_ffff)
}

/// What a name looks like: its skeleton by UTS 39, without regard to case and to how many spaces stand together. Two names of
/// one look can be taken for each other.
pub fn look(name: &str) -> String {
    // A capital may look like something else than its small letter does: I and l.
    let shape = |text: &str| skeleton(text).collect::<String>().to_lowercase();
    let plain = shape(&shape(name));
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Notes the looks of names that are older than the rule, oldest first; one that looks like another's stays without. Returns
/// how many it noted.
pub async fn backfill(pool: &PgPool) -> sqlx::Result<u64> {
    let mut noted = 0;
    let accounts = sqlx::query!("select id, name from account where look is null order by created_at, id");
    for row in accounts.fetch_all(pool).await? {
        noted += sqlx::query!(
            "update account set look = $2
             where id = $1 and not exists (select from account where look = $2)",
            row.id,
            look(&row.name)
        )
        .execute(pool)
        .await?
        .rows_affected();
    }
    let teams = sqlx::query!("select id, name from team where look is null order by created_at, id");
    for row in teams.fetch_all(pool).await? {
        noted += sqlx::query!(
            "update team t set look = $2
             where id = $1 and not exists (select from team o where o.challenge_id = t.challenge_id and o.look = $2)",
            row.id,
            look(&row.name)
        )
        .execute(pool)
        .await?
        .rows_affected();
    }
    Ok(noted)
}

#[cfg(test)]
mod tests {
    use super::{checked, look};

    #[test]
    fn a_name_shows_all_that_it_holds() {
        for fine in ["NJU_MCG", "超分 团队", "Équipe 1", "Ünïcödé", "Team 🚀", " padded "] {
            assert_eq!(checked(fine), Some(fine.trim()), "{fine:?}");
        }
        for c in
            "\u{200b}\u{ad}\u{202e}\u{feff}\u{3164}\u{2800}\u{e0041}\u{a0}\u{3000}\u{0}\n\u{1b}\u{fe0f}\u{e000}".chars()
        {
            assert_eq!(checked(&format!("Te{c}am")), None, "{c:?}");
        }
    }

    #[test]
    fn names_of_one_look_are_found() {
        for (one, other) in [
            ("Anna", "\u{410}nn\u{430}"), // Cyrillic
            ("Anna", "ＡＮＮＡ"),
            ("modern", "rnodern"),
            ("Team Il", "team l1"),
            ("BOE-IOT", "B0E-I0T"),
            ("Two  Words", "Two Words"),
            ("Éclair", "E\u{301}clair"),
        ] {
            assert_eq!(look(one), look(other), "{one:?} and {other:?}");
        }
        for (one, other) in [("Anna", "Hanna"), ("NJU 2", "NJU 3"), ("超分", "超级"), ("a1", "a2")] {
            assert_ne!(look(one), look(other), "{one:?} and {other:?}");
        }
    }
}
