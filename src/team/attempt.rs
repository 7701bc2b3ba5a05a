//! How often somebody may try: sign-ins, sign-ups, requests for a reset. Counted in the database, so that several servers
//! count together; an attempt is written before it is made, so that many at once cannot pass the limit.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use sqlx::{Acquire, PgPool};

use super::secret;

const MINUTE: u64 = 60;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// A password: failures count.
    SignIn,
    /// An account to be made: all count.
    SignUp,
    /// A mail with a reset link: all count.
    Reset,
}

/// So many attempts within a sliding window.
struct Rule {
    subject: Option<i64>,
    address: i64,
    window: Duration,
}

impl Kind {
    fn rule(self) -> Rule {
        match self {
            // ASVS 6.3.1. An address may be a whole institute behind one router.
            Kind::SignIn => Rule { subject: Some(10), address: 50, window: Duration::from_secs(15 * MINUTE) },
            Kind::SignUp => Rule { subject: None, address: 20, window: Duration::from_secs(60 * MINUTE) },
            Kind::Reset => Rule { subject: Some(3), address: 20, window: Duration::from_secs(60 * MINUTE) },
        }
    }

    /// For the database's lock of one subject or address.
    fn lock(self, of_address: bool) -> i32 {
        0x7472_7900 + self as i32 * 2 + i32::from(of_address)
    }
}

/// An attempt under way. It stays on record as failed unless [`succeeded`](Attempt::succeeded) is called.
#[derive(Debug)]
pub struct Attempt {
    id: i64,
    kind: Kind,
    subject: String,
    address: String,
}

/// Too many: wait so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    pub seconds: i64,
    /// Whether it is the subject's limit that was reached, not the address's.
    pub of_subject: bool,
}

/// For names that no account has: as long as an account's id, and telling nothing.
pub fn unknown(name: &str) -> String {
    secret::digest(&name.to_lowercase())
}

/// The part of an address that one customer has: of IPv6 the /64 network.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Lets an attempt through, or says how long to wait; a refused one is not counted, so that no wait grows by it.
///
/// Who has signed in from an address before is counted there alone, and by their own misses: neither others' guesses at their
/// name nor others' misses behind the same router keep an owner out.
pub async fn admit(
    pool: &PgPool,
    kind: Kind,
    subject: &str,
    address: IpAddr,
) -> sqlx::Result<Result<Attempt, TooMany>> {
    let Rule { subject: per_subject, address: per_address, window } = kind.rule();
    let address = network(address);
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    // Always in this order, so that two attempts cannot wait for each other.
    for (of_address, key) in [(false, subject), (true, &address)] {
        sqlx::query!("select pg_advisory_xact_lock($1, hashtext($2))", kind.lock(of_address), key)
            .fetch_one(&mut *tx)
            .await?;
    }
    // The attempt that has to leave the window before another may enter.
    let waits = sqlx::query!(
        r#"with known as (
               select exists (select from attempt where kind = $1 and subject = $2 and address = $3 and succeeded
                   and $1 = 'sign_in') as here),
           counted as (
               select at, subject = $2 and (address = $3 or not known.here) as of_subject,
                      address = $3 and not known.here as of_address
               from attempt cross join known
               where kind = $1 and (subject = $2 or address = $3) and not succeeded
                 and at > now() - make_interval(secs => $4))
           select (select ceil(extract(epoch from at + make_interval(secs => $4) - now()))::bigint from counted
                   where of_subject order by at desc offset $5 limit 1) as subject,
                  (select ceil(extract(epoch from at + make_interval(secs => $4) - now()))::bigint from counted
                   where of_address order by at desc offset $6 limit 1) as address"#,
        kind as _,
        subject,
        address,
        window.as_secs_f64(),
        per_subject.unwrap_or(i64::MAX) - 1,
        per_address - 1
    )
    .fetch_one(&mut *tx)
    .await?;
    if let Some(seconds) = waits.subject.max(waits.address) {
        return Ok(Err(TooMany { seconds: seconds.max(1), of_subject: waits.subject.is_some() }));
    }
    let id = sqlx::query_scalar!(
        "insert into attempt (kind, subject, address) values ($1, $2, $3) returning id",
        kind as _,
        subject,
        address
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query!("delete from attempt where at < now() - interval '30 days'").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Ok(Attempt { id, kind, subject: subject.to_owned(), address }))
}

impl Attempt {
    /// It was the right password: the misses before it from here are forgiven, and this address is known from now on.
    pub async fn succeeded(self, pool: &PgPool) -> sqlx::Result<()> {
        sqlx::query!("update attempt set succeeded = true where id = $1", self.id).execute(pool).await?;
        sqlx::query!(
            "delete from attempt where kind = $1 and subject = $2 and address = $3 and not succeeded",
            self.kind as _,
            self.subject,
            self.address
        )
        .execute(pool)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn one_customer_is_one_network() {
        let of = |address: &str| network(address.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2:ffff::1"), of("2001:db8:1:2::"));
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
