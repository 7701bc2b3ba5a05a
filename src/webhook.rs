//! A challenge's webhook: where its events are posted to, and the posting itself.
//!
//! The address is an organizer's word, so the server must not be led by it into its own network: https only, and only to
//! addresses that the internet routes, looked at after the name was resolved and by the very connection. Whoever runs the
//! server may allow origins of their own, as `http://127.0.0.1:9000`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use chrono::{DateTime, Utc};
use ring::hmac;
use serde::Serialize;
use sqlx::{Acquire, PgConnection};
use ureq::{
    Agent,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};
use utoipa::ToSchema;

use crate::{
    audit::{self, Act, Actor},
    ids::ChallengeId,
    outbox,
    problem::Problem,
    storage::hex,
    team::secret::Secret,
};

/// For everything of one delivery: a receiver only has to take it.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Webhook {
    pub url: String,
    pub created_at: DateTime<Utc>,
}

pub async fn get(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Option<Webhook>> {
    sqlx::query_as!(Webhook, "select url, created_at from webhook where challenge_id = $1", challenge.0)
        .fetch_optional(conn)
        .await
}

async fn set(conn: &mut PgConnection, challenge: ChallengeId, url: &str) -> sqlx::Result<Secret> {
    let secret = Secret::new("");
    sqlx::query!(
        "insert into webhook (challenge_id, url, secret) values ($1, $2, $3)
         on conflict (challenge_id) do update set url = $2, secret = $3, created_at = now()",
        challenge.0,
        url,
        secret.expose()
    )
    .execute(conn)
    .await?;
    Ok(secret)
}

/// Sets the challenge's webhook for an organizer, and gives the key of its signatures, which is shown once. The log tells
/// the host alone: the rest of an address may be a secret of its receiver.
pub async fn configure(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    url: &str,
    allowed: &Allowed,
    by: &Actor,
) -> sqlx::Result<Result<Secret, Problem>> {
    let uri = match check(url, allowed) {
        Ok(uri) => uri,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut tx = conn.begin().await?;
    let secret = set(&mut tx, challenge, url.trim()).await?;
    audit::note(&mut tx, by, Act::of(challenge, "webhook.set", uri.host().unwrap_or_default())).await?;
    tx.commit().await?;
    Ok(Ok(secret))
}

/// Removes it for an organizer; whether there was one. What waits for it is given up.
pub async fn abolish(conn: &mut PgConnection, challenge: ChallengeId, by: &Actor) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let Some(known) = get(&mut tx, challenge).await? else { return Ok(false) };
    sqlx::query!("delete from webhook where challenge_id = $1", challenge.0).execute(&mut *tx).await?;
    audit::note(&mut tx, by, Act::of(challenge, "webhook.remove", host(&known.url))).await?;
    tx.commit().await?;
    Ok(true)
}

/// Queues an event that tells nothing, to see whether it arrives; whether there is a webhook.
pub async fn ping(conn: &mut PgConnection, challenge: ChallengeId, by: &Actor) -> sqlx::Result<bool> {
    let mut tx = conn.begin().await?;
    let Some(known) = get(&mut tx, challenge).await? else { return Ok(false) };
    outbox::event(&mut tx, challenge, "ping", serde_json::json!({})).await?;
    audit::note(&mut tx, by, Act::of(challenge, "webhook.ping", host(&known.url))).await?;
    tx.commit().await?;
    Ok(true)
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap_or_default()
}

/// Address and key.
pub async fn secret(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Option<(String, String)>> {
    let row = sqlx::query!("select url, secret from webhook where challenge_id = $1", challenge.0);
    Ok(row.fetch_optional(conn).await?.map(|row| (row.url, row.secret)))
}

/// Where a webhook may lead beside the public internet: origins, as `http://127.0.0.1:9000`.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Vec<String>);

impl Allowed {
    pub fn new(origins: &[String]) -> anyhow::Result<Allowed> {
        let mut allowed = Vec::new();
        for origin in origins {
            let uri: Uri =
                origin.parse().map_err(|_| anyhow::anyhow!("{origin:?} is no origin, as http://10.0.0.1"))?;
            let known =
                self::origin(&uri).ok_or_else(|| anyhow::anyhow!("{origin:?} is no origin of http or https"))?;
            allowed.push(known);
        }
        Ok(Allowed(allowed))
    }

    fn has(&self, uri: &Uri) -> bool {
        origin(uri).is_some_and(|origin| self.0.contains(&origin))
    }
}

/// With its port, in lower case.
fn origin(uri: &Uri) -> Option<String> {
    let scheme = uri.scheme_str()?;
    let port = uri.port_u16().or(match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })?;
    Some(format!("{scheme}://{}:{port}", uri.host()?.to_ascii_lowercase()))
}

/// Whether an address may be a webhook's, as far as it shows without asking for its name.
pub fn check(url: &str, allowed: &Allowed) -> Result<Uri, Problem> {
    let bad =
        |why: &str| Problem::new("bad_webhook_url", format!("This address cannot be a webhook's: {why}.")).at("url");
    let uri: Uri = url.trim().parse().map_err(|_| bad("it is no URL"))?;
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return Err(bad("it names no host")) };
    if url.trim().len() > 2000 || authority.as_str().contains('@') {
        return Err(bad("it is too long, or holds a name and password"));
    }
    if allowed.has(&uri) {
        return Ok(uri);
    }
    if uri.scheme_str() != Some("https") {
        return Err(bad("it does not start with https://"));
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let local = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    if local || literal.is_ok_and(|address| !is_public(address)) {
        return Err(bad("it leads into a private network"));
    }
    Ok(uri)
}

/// Whether the internet routes an address, and it stands for no other one.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., _, _)
    );
    !special
}

/// Global unicast, without documentation and what embeds IPv4 (Teredo and its neighbours, 6to4).
fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    a & 0xe000 == 0x2000 && !matches!((a, b), (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff))
}

/// Resolves names, and refuses where any address that it finds is not public.
#[derive(Debug)]
struct PublicOnly(DefaultResolver);

impl Resolver for PublicOnly {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        if found.iter().all(|address| is_public(address.ip())) {
            return Ok(found);
        }
        Err(std::io::Error::other("the name leads into a private network").into())
    }
}

/// `sha256=` and the HMAC-SHA-256 by the secret's 64 characters over the timestamp, a full stop and the body.
pub fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex(hmac::sign(&key, format!("{timestamp}.{body}").as_bytes()).as_ref()))
}

/// One event, to be posted.
pub struct Post<'a> {
    pub url: &'a str,
    pub secret: &'a str,
    pub event: &'a str,
    /// The same in every try.
    pub delivery: String,
    pub body: String,
    pub now: DateTime<Utc>,
}

/// Posts it and gives the HTTP status; blocks. Follows no redirect, reads no answer.
pub fn post(post: &Post<'_>, allowed: &Allowed) -> Result<u16, String> {
    let uri = check(post.url, allowed).map_err(|problem| problem.message)?;
    let config = Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("Upscore/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = match allowed.has(&uri) {
        true => Agent::with_parts(config, DefaultConnector::default(), DefaultResolver::default()),
        false => Agent::with_parts(config, DefaultConnector::default(), PublicOnly(DefaultResolver::default())),
    };
    let timestamp = post.now.timestamp();
    let answer = agent
        .post(&uri)
        .header("content-type", "application/json")
        .header("x-upscore-event", post.event)
        .header("x-upscore-delivery", &post.delivery)
        .header("x-upscore-timestamp", timestamp.to_string())
        .header("x-upscore-signature", signature(post.secret, timestamp, &post.body))
        .send(&post.body);
    match answer {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_by_https_is_an_address() {
        let allowed = Allowed::new(&["http://127.0.0.1:9000".into()]).expect("an origin");
        for good in ["https://hooks.example.org/a?b=c", "https://8.8.8.8:8443/", "http://127.0.0.1:9000/x"] {
            assert!(check(good, &allowed).is_ok(), "{good}");
        }
        let bad = [
            "http://hooks.example.org/",
            "http://127.0.0.1:9001/",
            "http://127.0.0.1/",
            "https://127.0.0.1:9000/",
            "https://localhost/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/meta-data",
            "https://user:password@example.org/",
            "ftp://example.org/",
            "file:///etc/passwd",
            "/relative",
            "",
        ];
        for bad in bad {
            assert_eq!(check(bad, &allowed).expect_err(bad).code, "bad_webhook_url");
        }
    }

    #[test]
    fn addresses_that_stand_for_inner_ones_are_not_public() {
        let public = |text: &str| is_public(text.parse().expect("an address"));
        assert!(public("1.1.1.1") && public("2606:4700::1111") && public("172.32.0.1") && public("100.128.0.1"));
        for inner in
            ["0.0.0.0", "100.64.0.1", "172.31.0.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"]
        {
            assert!(!public(inner), "{inner}");
        }
        // NAT64, 6to4, Teredo, unique local, link local, IPv4 in two forms.
        for inner in
            ["64:ff9b::a00:1", "2002:a00:1::", "2001::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1", "::127.0.0.1"]
        {
            assert!(!public(inner), "{inner}");
        }
    }

    #[test]
    fn a_name_that_leads_inside_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let uri: Uri =
            format!("http://localhost:{}/", listener.local_addr().expect("it").port()).parse().expect("a URL");
        let config = Agent::config_builder().proxy(None).build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), PublicOnly(DefaultResolver::default()));
        let refused = agent.post(&uri).send("x").expect_err("refused");
        assert!(refused.to_string().contains("private network"), "{refused}");
        assert!(listener.accept().is_err(), "nobody knocked");
    }

    #[test]
    fn the_signature_is_the_usual_one() {
        // From `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`.
        assert_eq!(
            signature("key", 1_700_000_000, "{}"),
            "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }
}
