//! Who may use which route: every one of the router's, as nobody, as strangers, as the owner's team, as organizers.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use upscore::{
    audit::Actor,
    challenge::{
        self,
        joining::{self, JoinPolicy, Joining},
        organizers,
    },
    ids::TeamId,
    queue::rerun::{self, Decision, Which},
    team::{self, Role, account, token::Scope},
};

use crate::support::{
    app::{Plan, Team},
    web::{Reply, Visitor, Web, request},
};

/// Whom a route answers. To everybody else it answers 401 where nobody is signed in, and what it would answer if the object
/// were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everybody,
    /// Who is signed in.
    Accounts,
    /// The account that the object is of, and nobody else.
    Its,
    /// The team that the object is of, and organizers.
    Team,
    /// The team's owner, and organizers; its members are told that they may not.
    Owner,
    /// Who runs the challenge of the address, and administrators; to an organizer of another it does not exist.
    Organizers,
    /// Who runs any challenge.
    AnyOrganizer,
    /// Who runs the whole server.
    Administrators,
}

use For::{Accounts, Administrators, AnyOrganizer, Everybody, Its, Organizers, Owner};

const ROUTES: &[(&str, For)] = &[
    ("GET /", Everybody),
    ("GET /account", Accounts),
    ("POST /account/email", Accounts),
    ("POST /account/mails", Accounts),
    ("GET /api/v1/account/mails", Accounts),
    ("PUT /api/v1/account/mails", Accounts),
    ("GET /unsubscribe", Everybody),
    ("POST /unsubscribe", Everybody),
    ("POST /account/password", Accounts),
    ("POST /account/sessions/end", Accounts),
    ("POST /account/sessions/{id}/end", Its),
    ("GET /api/docs", Everybody),
    // Codabench's, which name rows by numbers.
    ("POST /api/api-token-auth/", Everybody),
    ("GET /api/can_make_submission/{phase}/", Accounts),
    ("GET /api/competitions/", Everybody),
    ("GET /api/competitions/{id}/", Everybody),
    ("POST /api/datasets/", Accounts),
    ("PUT /api/datasets/completed/{key}/", Its),
    // Who knows the key may send the bytes, once.
    ("PUT /api/datasets/upload/{key}/", Everybody),
    ("GET /api/leaderboards/{id}/", Everybody),
    ("GET /api/phases/{id}/get_leaderboard/", Everybody),
    ("GET /api/submissions/", Accounts),
    ("POST /api/submissions/", Accounts),
    ("GET /api/submissions/{id}/", For::Team),
    ("GET /api/submissions/{id}/file/", For::Team),
    ("GET /api/submissions/{id}/get_details/", For::Team),
    ("GET /api/v1/account", Accounts),
    ("PATCH /api/v1/account", Accounts),
    ("POST /api/v1/account", Everybody),
    ("PUT /api/v1/account/password", Accounts),
    ("GET /api/v1/account/sessions", Accounts),
    ("DELETE /api/v1/account/sessions/{id}", Its),
    ("GET /api/v1/challenges", Everybody),
    ("GET /api/v1/challenges/{slug}", Everybody),
    ("POST /api/v1/challenges", Administrators),
    ("POST /api/v1/bundles", AnyOrganizer),
    ("GET /api/v1/challenges/{slug}/file", Organizers),
    ("PUT /api/v1/challenges/{slug}/file", Organizers),
    ("GET /api/v1/challenges/{slug}/join", Everybody),
    ("POST /api/v1/challenges/{slug}/join", Accounts),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/leaderboard", Everybody),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/submissions", Accounts),
    ("GET /api/v1/datasets", AnyOrganizer),
    ("POST /api/v1/datasets", AnyOrganizer),
    ("GET /api/v1/datasets/builds/{id}", Organizers),
    ("GET /organizer/datasets", AnyOrganizer),
    ("POST /organizer/datasets", AnyOrganizer),
    ("GET /organizer/datasets/builds/{id}", Organizers),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/lr.zip", Everybody),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/sample.zip", Everybody),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/compare", Everybody),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/study", Everybody),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/review", Organizers),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/reruns", Organizers),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/reruns", Organizers),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/reruns/{batch}", Organizers),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/reruns/{batch}", Organizers),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/publish", Organizers),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/unpublish", Organizers),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/carry", Organizers),
    ("POST /organizer/{slug}/carry", Organizers),
    ("PUT /api/v1/challenges/{slug}/phases/{phase}/protocol", Organizers),
    ("POST /api/v1/challenges/{slug}/phases/{phase}/protocol/preview", Organizers),
    ("GET /api/v1/challenges/{slug}/phases/{phase}/submissions", Accounts),
    ("GET /api/v1/challenges/{slug}/announcements", Everybody),
    ("POST /api/v1/challenges/{slug}/announcements", Organizers),
    ("POST /api/v1/challenges/{slug}/announcements/{id}/withdraw", Organizers),
    ("DELETE /api/v1/challenges/{slug}/webhook", Organizers),
    ("GET /api/v1/challenges/{slug}/webhook", Organizers),
    ("PUT /api/v1/challenges/{slug}/webhook", Organizers),
    ("POST /api/v1/challenges/{slug}/webhook/ping", Organizers),
    ("GET /api/v1/workers", AnyOrganizer),
    ("GET /api/v1/challenges/{slug}/audit", Organizers),
    ("GET /api/v1/challenges/{slug}/export.zip", Organizers),
    ("GET /api/v1/challenges/{slug}/organizers", Organizers),
    ("POST /api/v1/challenges/{slug}/organizers", Organizers),
    ("DELETE /api/v1/challenges/{slug}/organizers/{account}", Organizers),
    ("GET /api/v1/challenges/{slug}/participants", Organizers),
    ("POST /api/v1/challenges/{slug}/participants/{account}/ban", Organizers),
    ("POST /api/v1/challenges/{slug}/participants/{account}/remove", Organizers),
    ("POST /api/v1/challenges/{slug}/participants/{account}/unban", Organizers),
    ("GET /api/v1/challenges/{slug}/requests", Organizers),
    ("POST /api/v1/challenges/{slug}/requests/{account}", Organizers),
    ("POST /api/v1/invitations/accept", Accounts),
    ("GET /api/v1/openapi.json", Everybody),
    ("GET /api/v1/record-key", Everybody),
    ("POST /api/v1/reset-links", Administrators),
    ("DELETE /api/v1/session", Everybody),
    ("POST /api/v1/session", Everybody),
    ("DELETE /api/v1/submissions/{id}", For::Team),
    ("GET /api/v1/submissions/{id}", For::Team),
    ("PATCH /api/v1/submissions/{id}", For::Team),
    ("POST /api/v1/submissions/{id}/cancel", For::Team),
    ("POST /api/v1/submissions/{id}/choose", For::Team),
    ("POST /api/v1/submissions/{id}/mark", Organizers),
    ("GET /api/v1/submissions/{id}/objections", For::Team),
    ("POST /api/v1/submissions/{id}/objections", For::Team),
    ("POST /api/v1/submissions/{id}/objections/{objection}/answer", Organizers),
    ("GET /api/v1/submissions/{id}/review", Organizers),
    ("POST /api/v1/submissions/{id}/withdraw", For::Team),
    ("GET /api/v1/submissions/{id}/model", For::Team),
    ("GET /api/v1/submissions/{id}/record", For::Team),
    ("GET /api/v1/submissions/{id}/results", For::Team),
    ("GET /api/v1/submissions/{id}/events", For::Team),
    ("GET /api/v1/teams", Accounts),
    ("GET /api/v1/teams/{id}", For::Team),
    ("PATCH /api/v1/teams/{id}", Owner),
    ("POST /api/v1/teams/{id}/invitations", Owner),
    ("DELETE /api/v1/teams/{id}/invitations/{invitation}", Owner),
    ("DELETE /api/v1/teams/{id}/members/{account}", Owner),
    ("GET /api/v1/tokens", Accounts),
    ("POST /api/v1/tokens", Accounts),
    ("DELETE /api/v1/tokens/{id}", Its),
    ("GET /api/v1/uploads", Accounts),
    ("OPTIONS /api/v1/uploads", Everybody),
    ("POST /api/v1/uploads", Accounts),
    ("DELETE /api/v1/uploads/{id}", Its),
    ("HEAD /api/v1/uploads/{id}", Its),
    ("PATCH /api/v1/uploads/{id}", Its),
    ("POST /api/v1/uploads/{id}", Its),
    ("GET /.well-known/security.txt", Everybody),
    ("GET /challenges/{slug}", Everybody),
    ("GET /challenges/{slug}/{phase}", Everybody),
    ("GET /challenges/{slug}/{phase}/lr.zip", Everybody),
    ("GET /challenges/{slug}/{phase}/sample.zip", Everybody),
    ("GET /challenges/{slug}/{phase}/compare", Everybody),
    ("GET /challenges/{slug}/{phase}/embed", Everybody),
    ("GET /challenges/{slug}/{phase}/feed.atom", Everybody),
    ("GET /challenges/{slug}/{phase}/preview.png", Everybody),
    ("GET /challenges/{slug}/{phase}/teams/{id}/badge.svg", Everybody),
    ("GET /challenges/{slug}/{phase}/study", Everybody),
    ("GET /challenges/{slug}/{phase}/submit", Everybody),
    ("POST /challenges/{slug}/{phase}/submit", Everybody),
    ("GET /forgotten", Everybody),
    ("POST /forgotten", Everybody),
    ("GET /healthz", Everybody),
    ("GET /invitation", Everybody),
    ("POST /invitation", Accounts),
    ("GET /join/{slug}", Everybody),
    ("POST /join/{slug}", Accounts),
    ("GET /metrics", Everybody),
    ("GET /organizer", AnyOrganizer),
    ("GET /organizer/new", Administrators),
    ("POST /organizer/new", Administrators),
    ("GET /organizer/import", AnyOrganizer),
    ("POST /organizer/import", AnyOrganizer),
    ("POST /organizer/import/file", AnyOrganizer),
    ("POST /organizer/reset", Administrators),
    ("GET /organizer/{slug}", Organizers),
    ("GET /organizer/{slug}/challenge.toml", Organizers),
    ("GET /organizer/{slug}/settings", Organizers),
    ("POST /organizer/{slug}/settings", Organizers),
    ("GET /organizer/{slug}/settings.zip", Organizers),
    ("GET /organizer/{slug}/participants", Organizers),
    ("GET /organizer/{slug}/review", Organizers),
    ("GET /organizer/{slug}/review/{submission}", Organizers),
    ("GET /organizer/{slug}/review/{submission}/images/{image}/{file}", Organizers),
    ("POST /organizer/{slug}/review/{submission}/mark", Organizers),
    ("POST /organizer/{slug}/review/{submission}/objections/{objection}", Organizers),
    ("POST /organizer/{slug}/{phase}/reruns", Organizers),
    ("GET /organizer/{slug}/{phase}/reruns/{batch}", Organizers),
    ("POST /organizer/{slug}/{phase}/reruns/{batch}", Organizers),
    ("GET /organizer/audit", Administrators),
    ("GET /organizer/audit.csv", Administrators),
    ("GET /organizer/audit.json", Administrators),
    ("GET /organizer/workers", AnyOrganizer),
    ("POST /organizer/{slug}/{phase}/publish", Organizers),
    ("GET /organizer/{slug}/{phase}/protocol", Organizers),
    ("POST /organizer/{slug}/{phase}/protocol", Organizers),
    ("GET /organizer/{slug}/announcements", Organizers),
    ("GET /organizer/{slug}/audit", Organizers),
    ("GET /organizer/{slug}/audit.csv", Organizers),
    ("GET /organizer/{slug}/audit.json", Organizers),
    ("GET /organizer/{slug}/export.zip", Organizers),
    ("GET /organizer/{slug}/exports", Organizers),
    ("POST /organizer/{slug}/announcements", Organizers),
    ("POST /organizer/{slug}/announcements/{id}/withdraw", Organizers),
    ("POST /organizer/{slug}/organizers", Organizers),
    ("POST /organizer/{slug}/webhook", Organizers),
    ("POST /organizer/{slug}/webhook/ping", Organizers),
    ("POST /organizer/{slug}/webhook/remove", Organizers),
    ("POST /organizer/{slug}/organizers/{account}/remove", Organizers),
    ("POST /organizer/{slug}/participants/{account}/ban", Organizers),
    ("POST /organizer/{slug}/participants/{account}/decide", Organizers),
    ("POST /organizer/{slug}/participants/{account}/remove", Organizers),
    ("POST /organizer/{slug}/participants/{account}/unban", Organizers),
    ("GET /readyz", Everybody),
    ("GET /reset", Everybody),
    ("POST /reset", Everybody),
    ("GET /signin", Everybody),
    ("POST /signin", Everybody),
    ("POST /signin/token", Everybody),
    ("POST /signout", Everybody),
    ("GET /signup", Everybody),
    ("POST /signup", Everybody),
    ("GET /static/{name}", Everybody),
    ("GET /submissions/{id}", For::Team),
    ("GET /submissions/{id}/model", For::Team),
    ("POST /submissions/{id}/cancel", For::Team),
    ("POST /submissions/{id}/choose", For::Team),
    ("POST /submissions/{id}/fact-sheet", For::Team),
    ("POST /submissions/{id}/objections", For::Team),
    ("POST /submissions/{id}/withdraw", For::Team),
    ("GET /team", Accounts),
    // Until it stands on a public board.
    ("GET /teams/{id}", For::Team),
    ("POST /teams/{id}/invitations", Owner),
    ("POST /teams/{id}/invitations/{invitation}/revoke", Owner),
    ("POST /teams/{id}/leave", For::Team),
    ("POST /teams/{id}/members/{account}/owner", Owner),
    ("POST /teams/{id}/members/{account}/remove", Owner),
    ("POST /teams/{id}/rename", Owner),
    ("POST /tokens", Accounts),
    ("POST /tokens/{id}/revoke", Its),
];

/// The paths of the router itself, from what it shows of itself for debugging.
fn paths(web: &Web) -> BTreeSet<String> {
    let shown = format!("{:?}", web.router);
    let paths: BTreeSet<_> = shown
        .split('"')
        .filter(|word| word.starts_with('/') && !word.contains("__private"))
        .map(str::to_owned)
        .collect();
    assert!(paths.contains("/teams/{id}/leave") && paths.contains("/healthz"), "the router no longer shows its paths");
    paths
}

/// What stands for a path's parameters.
struct World {
    names: BTreeMap<&'static str, String>,
    /// What Codabench's routes call the same rows.
    numbers: BTreeMap<&'static str, String>,
}

impl World {
    /// The address of the real object; or of one that was never there.
    fn address(&self, path: &str, real: bool) -> String {
        if path.starts_with("/api/") && !path.starts_with("/api/v1/") {
            let row =
                ["competitions", "submissions", "phases", "leaderboards"].into_iter().find(|row| path.contains(row));
            let number = row.filter(|_| real).map_or("999999", |row| &self.numbers[row]);
            let never = uuid::Uuid::now_v7().to_string();
            let key = if real { &self.numbers["key"] } else { &never };
            let phase = if real { &self.numbers["phases"] } else { "999999" };
            return path.replace("{id}", number).replace("{phase}", phase).replace("{key}", key);
        }
        let object = ["/submissions/", "/teams/", "/tokens/", "/uploads/", "/sessions/", "/announcements/", "/builds/"];
        let object = object.iter().find(|kind| path.contains(*kind)).copied().unwrap_or("");
        let never = uuid::Uuid::now_v7().to_string();
        let id = if real { self.names.get(object).unwrap_or(&never) } else { &never };
        let mut address = path.replace("{id}", id);
        for name in
            ["slug", "phase", "name", "account", "invitation", "submission", "objection", "batch", "image", "file"]
        {
            address = address.replace(&format!("{{{name}}}"), &self.names[name]);
        }
        if path == "/invitation" || path == "/reset" {
            address += &format!("?key={}", self.names[path]);
        }
        address
    }
}

/// Asks as a browser of ours would, with a field that no form has: whoever may use the route hears of the field.
async fn ask(who: &mut Visitor<'_>, method: &Method, address: &str, site: &str) -> Reply {
    ask_with(who, method, address, site, ["role=admin", r#"{"role":"admin"}"#]).await
}

async fn ask_with(
    who: &mut Visitor<'_>,
    method: &Method,
    address: &str,
    site: &str,
    [form, document]: [&'static str; 2],
) -> Reply {
    let json = address.starts_with("/api/");
    let mut head = request(method.clone(), address, None)
        .header("sec-fetch-site", site)
        .header(header::ACCEPT, "text/html")
        .header("tus-resumable", "1.0.0");
    let mut body = Body::empty();
    if ["POST", "PUT", "PATCH"].contains(&method.as_str()) {
        let (kind, text) = match json {
            true => ("application/json", document),
            false => ("application/x-www-form-urlencoded", form),
        };
        head = head.header(header::CONTENT_TYPE, kind);
        body = text.into();
    }
    who.send_head(head, body).await
}

/// What an owner would send, as a form and as JSON.
fn wanted(path: &str) -> [&'static str; 2] {
    match path.rsplit('/').next() {
        Some("invitations") => ["uses=one&days=7", r#"{"days":7}"#],
        Some("rename") => ["name=Mine", "{}"],
        _ => ["", "{}"],
    }
}

/// Whoever is in no team of a challenge is told so, and an entry's team that it is not scored: no secrets to them.
fn lets_in(reply: &Reply) -> bool {
    let told = reply.text.contains("\"no_team\"") || reply.text.contains("\"not_scored\"");
    !matches!(reply.status.as_u16(), 401 | 403 | 404) || told
}

/// A page differs by nothing but who is signed in and where a sign-in leads; the rest must tell nothing.
fn words(reply: &Reply, address: &str) -> String {
    let id = address.split('/').find(|part| part.parse::<uuid::Uuid>().is_ok()).unwrap_or("-");
    reply.text.replace(id, "ID").replace(&id.replace('-', "%2D"), "ID")
}

#[tokio::test]
async fn every_route_answers_those_alone_whom_it_is_for() {
    // With one connection for all requests: none waits for a second while it holds one.
    let web = Web::narrow(1).await;
    let phase = web.app.phase().await;
    let mut owner = web.person("Owner").await;
    let mut member = web.person("Member").await;
    web.person("Second").await;
    let mut rival = web.person("Rival").await;
    let mut removed = web.person("Removed").await;
    let mut olga = web.organizer().await;
    let (mut carla, mut otto) = (web.person("Carla").await, web.person("Otto").await);
    let account =
        async |name: &str| account::by_name(&mut *web.app.conn().await, name).await.expect("read").expect("it").id;
    let own = account("Owner").await;
    let team = {
        let mut conn = web.app.conn().await;
        let team = team::create(&mut conn, phase.challenge, "Own", own).await.expect("a team");
        for name in ["Member", "Second", "Removed"] {
            team::join(&mut conn, team, account(name).await, Role::Member).await.expect("joined");
        }
        team::create(&mut conn, phase.challenge, "Rivals", account("Rival").await).await.expect("a team");
        team
    };
    team::remove(&web.app.pool, team, account("Removed").await, &team::Right::Owner(own)).await.expect("removed");
    // Carla runs this challenge, Otto another.
    let elsewhere = web.app.phase().await;
    for (challenge, name) in [(phase.challenge, "Carla"), (elsewhere.challenge, "Otto"), (phase.challenge, "Second")] {
        organizers::add(&mut *web.app.conn().await, challenge, name, &Actor::Shell).await.expect("an organizer");
    }
    let world = world(&web, &phase, &mut owner, &mut olga, Team { id: team, account: own }).await;

    // The table names what the router has, and no more.
    let mut there = BTreeSet::new();
    for path in paths(&web) {
        let odd = Method::from_bytes(b"PROPFIND").expect("a method");
        let refused = ask(&mut web.visitor(), &odd, &world.address(&path, false), "same-origin").await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed: Vec<_> = refused.header("allow").split(',').map(str::to_owned).collect();
        let of_get = |method: &String| method == "HEAD" && allowed.contains(&"GET".to_owned());
        there.extend(allowed.iter().filter(|m| !of_get(m)).map(|method| format!("{method} {path}")));
    }
    let listed: BTreeSet<_> = ROUTES.iter().map(|(route, _)| (*route).to_owned()).collect();
    let missing: Vec<_> = there.symmetric_difference(&listed).collect();
    assert!(missing.is_empty(), "say in ROUTES whom each route is for: {missing:#?}");

    // Who may not, first: nothing has changed by then.
    for &(route, whom) in ROUTES {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let (real, never) = (world.address(path, true), world.address(path, false));
        if whom == Everybody {
            continue;
        }
        let nobody = ask(&mut web.visitor(), &method, &real, "same-origin").await;
        assert!(matches!(nobody.status.as_u16(), 401 | 404), "{route} as nobody: {}", nobody.status);
        let random = ask(&mut web.visitor(), &method, &never, "same-origin").await;
        assert_eq!(
            (nobody.status, words(&nobody, &real)),
            (random.status, words(&random, &never)),
            "{route} as nobody"
        );
        let mut strangers = match whom {
            Everybody | Accounts => vec![],
            Its => vec![&mut member, &mut rival, &mut removed, &mut olga, &mut carla, &mut otto],
            For::Team | Owner => vec![&mut rival, &mut removed, &mut otto],
            Organizers => vec![&mut owner, &mut member, &mut rival, &mut removed, &mut otto],
            AnyOrganizer => vec![&mut owner, &mut member, &mut rival, &mut removed],
            Administrators => vec![&mut owner, &mut member, &mut rival, &mut removed, &mut otto, &mut carla],
        };
        for stranger in &mut strangers {
            let reply = ask_with(stranger, &method, &real, "same-origin", ["", "{}"]).await;
            let random = ask_with(stranger, &method, &never, "same-origin", ["", "{}"]).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{route}: {}", reply.text);
            assert_eq!((reply.status, words(&reply, &real)), (random.status, words(&random, &never)), "{route}");
        }
        if whom == Owner {
            let reply = ask_with(&mut member, &method, &real, "same-origin", wanted(path)).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{route} as a member");
        }
    }

    // A page of another site is refused whoever is signed in.
    for &(route, _) in ROUTES {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        if ["GET", "HEAD", "OPTIONS"].contains(&method) {
            continue;
        }
        for who in [&mut owner, &mut olga, &mut carla, &mut web.visitor()] {
            let reply = ask(who, &method.parse().expect("a method"), &world.address(path, true), "cross-site").await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{route} from another site");
            assert!(reply.text.contains("cross_site"), "{route}");
        }
    }

    // Who may: reading first, then what refuses the unknown field, then what acts.
    let order = |route: &str| {
        if route.starts_with("GET") || route.starts_with("HEAD") {
            0
        } else if route.starts_with("DELETE") {
            2
        } else {
            1
        }
    };
    let mut routes = ROUTES.to_vec();
    routes.sort_by_key(|(route, _)| order(route));
    for (route, whom) in routes {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let address = world.address(path, true);
        if order(route) == 2 && whom == Everybody {
            continue; // Signing out, which the others still need.
        }
        let mut visitor = web.visitor();
        let mut may: Vec<&mut Visitor<'_>> = match whom {
            Everybody => vec![&mut visitor],
            Accounts => vec![&mut owner, &mut member, &mut rival, &mut removed, &mut olga],
            Its => vec![&mut owner],
            For::Team => vec![&mut olga, &mut carla, &mut member, &mut owner],
            Owner => vec![&mut owner, &mut olga, &mut carla],
            Organizers => vec![&mut carla, &mut olga],
            AnyOrganizer => vec![&mut otto, &mut carla, &mut olga],
            Administrators => vec![&mut olga],
        };
        if order(route) == 2 {
            // What is gone after the first.
            may.truncate(1);
        }
        for who in may {
            let reply = ask(who, &method, &address, "same-origin").await;
            let codabench = path.starts_with("/api/") && !path.starts_with("/api/v1/");
            let files = ["/uploads", "/submi", "/datasets"].iter().any(|part| route.contains(part));
            let strict = order(route) == 1 && !(files || codabench) && whom != Everybody;
            match strict {
                true => assert_eq!(
                    reply.status,
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "{route} takes a field nobody asked for: {}",
                    reply.text
                ),
                false => assert!(
                    lets_in(&reply) || whom == Everybody && reply.status != StatusCode::FORBIDDEN,
                    "{route}: {} {}",
                    reply.status,
                    reply.text
                ),
            }
            assert!(!reply.status.is_server_error(), "{route}: {}", reply.text);
        }
    }
    let left = team::members(&mut *web.app.conn().await, team).await.expect("read");
    let left: Vec<_> = left.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(left, ["Owner", "Member"], "the one DELETE that names a member removed that one");
}

async fn world(
    web: &Web,
    phase: &upscore::challenge::phase::Phase,
    owner: &mut Visitor<'_>,
    olga: &mut Visitor<'_>,
    own: Team,
) -> World {
    // One that failed: on no board, and its stream of events ends.
    let submission = web.app.enter(phase, own).await;
    let problem = upscore::problem::Problem::new("zip_crc", "a checksum");
    web.app.evaluator.plan(&web.app.storage, submission, Plan::Fails(problem));
    web.app.drain_queue().await;
    // Its files, and the phase's LR images and baseline, which are there only in name so far.
    for bytes in [submission.to_string().as_bytes(), b"lr", b"baseline"] {
        web.app.storage.put(bytes).await.expect("a blob");
    }
    let sample = web.app.storage.put(b"a sample").await.expect("a blob");
    sqlx::query("insert into dataset_sample (dataset_id, kind, sha256, bytes) values ($1, 'sample', $2, 8)")
        .bind(phase.dataset)
        .bind(sample.as_str())
        .execute(&web.app.pool)
        .await
        .expect("a sample");
    let build = uuid::Uuid::now_v7();
    sqlx::query(
        "insert into dataset_build (id, account_name, challenge_id, name, scale) values ($1, 'Carla', $2, 'd', 4)",
    )
    .bind(build)
    .bind(phase.challenge)
    .execute(&web.app.pool)
    .await
    .expect("a build");
    let made = owner.json(Method::POST, "/api/v1/tokens", serde_json::json!({ "name": "ci", "scope": "read" })).await;
    let token = made.json()["id"].as_str().expect("an id").to_owned();
    let mut elsewhere = web.visitor();
    elsewhere.post("/signin", &[("name", "Owner"), ("password", crate::support::web::PASSWORD)]).await;
    let sessions = owner.get("/api/v1/account/sessions").await.json();
    let session =
        sessions.as_array().expect("a list").iter().map(|s| s["id"].as_str().expect("an id").to_owned()).max();
    let path = format!("/api/v1/teams/{}/invitations", own.id);
    let invited = owner.json(Method::POST, &path, serde_json::json!({ "days": 7 })).await.json();
    let key = |link: &str| link.rsplit('=').next().expect("a key").to_owned();
    let reset = olga
        .json(Method::POST, "/api/v1/reset-links", serde_json::json!({ "name": "Member", "reason": "asked" }))
        .await
        .json();
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let metadata = format!(
        "challenge {},phase {},part {}",
        encoded(&phase.challenge_slug),
        encoded("validation"),
        encoded("model")
    );
    let head = request(Method::POST, "/api/v1/uploads", None)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", 10)
        .header("upload-metadata", metadata);
    let upload = owner.send_head(head, Body::empty()).await;
    assert_eq!(upload.status, StatusCode::CREATED, "{}", upload.text);
    // Somebody who waits to be let in.
    let rules = Joining { policy: JoinPolicy::Approval, ..Joining::default() };
    joining::set(&mut *web.app.conn().await, phase.challenge, &rules).await.expect("set");
    let mut asker = web.person("Asker").await;
    asker.post(&format!("/join/{}", phase.challenge_slug), &[("name", "Askers")]).await;
    let path = format!("/api/v1/challenges/{}", phase.challenge_slug);
    let words = serde_json::json!({ "title": "Hello", "body": "all" });
    let announced = olga.json(Method::POST, &format!("{path}/announcements"), words).await.json();
    let hook = serde_json::json!({ "url": "https://example.org/" });
    assert_eq!(olga.json(Method::PUT, &format!("{path}/webhook"), hook).await.status, StatusCode::OK);
    let member = account::by_name(&mut *web.app.conn().await, "Second").await.expect("read").expect("it").id;
    // A batch of re-runs, cancelled at once.
    let batch = {
        let mut conn = web.app.conn().await;
        let ids = (phase.challenge, phase.id);
        let (batch, _) =
            rerun::start(&mut conn, ids, Which::These(&[submission]), &Actor::Shell, "again").await.expect("one");
        rerun::decide(&mut conn, phase.challenge, batch, Decision::Discarded, &Actor::Shell, "no")
            .await
            .expect("decided");
        batch
    };
    let names = BTreeMap::from([
        ("slug", phase.challenge_slug.clone()),
        ("phase", "validation".to_owned()),
        ("name", "app.css".to_owned()),
        ("account", member.to_string()),
        ("invitation", invited["id"].as_str().expect("an id").to_owned()),
        ("submission", submission.to_string()),
        ("objection", uuid::Uuid::now_v7().to_string()),
        ("batch", batch.to_string()),
        ("image", "0901".to_owned()),
        ("file", "hr.png".to_owned()),
        ("/invitation", key(invited["link"].as_str().expect("a link"))),
        ("/reset", key(reset["link"].as_str().expect("a link"))),
        ("/announcements/", announced["id"].as_str().expect("an id").to_owned()),
        ("/submissions/", submission.to_string()),
        ("/builds/", build.to_string()),
        ("/teams/", TeamId::to_string(&own.id)),
        ("/tokens/", token),
        ("/uploads/", upload.header("location").rsplit('/').next().expect("an id").to_owned()),
        ("/sessions/", session.expect("a session")),
    ]);
    let number = |value: &serde_json::Value| value["id"].as_i64().expect("a number").to_string();
    challenge::rename(&mut *web.app.conn().await, phase.challenge, "Ours", "").await.expect("renamed");
    let competitions = owner.get("/api/competitions/?search=ours").await.json();
    let competition = &competitions[0];
    let shown = owner.get(&format!("/api/competitions/{}/", number(competition))).await.json();
    let of_phase = number(&shown["phases"][0]);
    let entries = owner.get(&format!("/api/submissions/?phase={of_phase}")).await.json();
    let announced =
        owner.json(Method::POST, "/api/datasets/", serde_json::json!({ "type": "submission", "file_size": 10 })).await;
    let numbers = BTreeMap::from([
        ("competitions", number(competition)),
        ("phases", of_phase.clone()),
        ("leaderboards", of_phase),
        ("submissions", number(&entries[0])),
        ("key", announced.json()["key"].as_str().expect("a key").to_owned()),
    ]);
    World { names, numbers }
}

/// What an organizer does to something of somebody else's: whose, and the body that is sent, to which the reason is added.
const POWERS: &[(&str, Thing, Sent)] = &[
    ("POST /api/v1/submissions/{id}/cancel", Thing::Waiting, &[]),
    ("POST /api/v1/submissions/{id}/withdraw", Thing::Scored, &[]),
    ("DELETE /api/v1/submissions/{id}", Thing::Scored, &[]),
    ("POST /api/v1/submissions/{id}/choose", Thing::Scored, &[]),
    ("PATCH /api/v1/submissions/{id}", Thing::Scored, &[("fact_sheet", r#"{"method":"x"}"#)]),
    ("POST /api/v1/submissions/{id}/mark", Thing::Scored, &[("word", "\"hold\"")]),
    ("POST /submissions/{id}/cancel", Thing::Waiting, &[]),
    ("POST /submissions/{id}/withdraw", Thing::Scored, &[]),
    ("POST /submissions/{id}/choose", Thing::Scored, &[]),
    ("POST /submissions/{id}/fact-sheet", Thing::Scored, &[("method", "x")]),
    ("POST /organizer/{slug}/review/{submission}/mark", Thing::Scored, &[("word", "verify"), ("seen", "SEEN")]),
    ("PATCH /api/v1/teams/{id}", Thing::Team, &[("name", "\"Theirs\"")]),
    ("DELETE /api/v1/teams/{id}/members/{account}", Thing::Team, &[]),
    ("POST /api/v1/teams/{id}/invitations", Thing::Team, &[("days", "7")]),
    ("DELETE /api/v1/teams/{id}/invitations/{invitation}", Thing::Team, &[]),
    ("POST /teams/{id}/rename", Thing::Team, &[("name", "Renamed")]),
    ("POST /teams/{id}/invitations", Thing::Team, &[("uses", "one"), ("days", "7")]),
    ("POST /teams/{id}/invitations/{invitation}/revoke", Thing::Team, &[]),
    ("POST /teams/{id}/members/{account}/owner", Thing::Team, &[]),
    ("POST /teams/{id}/members/{account}/remove", Thing::Team, &[]),
    ("POST /api/v1/challenges/{slug}/participants/{account}/ban", Thing::Team, &[]),
    ("POST /api/v1/challenges/{slug}/participants/{account}/remove", Thing::Team, &[]),
    ("POST /api/v1/challenges/{slug}/participants/{account}/unban", Thing::Banned, &[]),
    ("POST /organizer/{slug}/participants/{account}/ban", Thing::Team, &[]),
    ("POST /organizer/{slug}/participants/{account}/remove", Thing::Team, &[]),
    ("POST /organizer/{slug}/participants/{account}/unban", Thing::Banned, &[]),
    ("POST /api/v1/reset-links", Thing::Team, &[("name", "\"NAME\"")]),
    ("POST /organizer/reset", Thing::Team, &[("name", "NAME")]),
    ("POST /api/v1/challenges/{slug}/requests/{account}", Thing::Asker, &[("let_in", "false")]),
    ("POST /organizer/{slug}/participants/{account}/decide", Thing::Asker, &[("decision", "decline")]),
];

/// The fields of a body: as words in a form, as JSON in a document.
type Sent = &'static [(&'static str, &'static str)];

/// Acts on an entry, a team or an account that are no organizer's power: the team's own word, and the answer to it, which is its
/// own reason; and what an account does with the challenge's organizers, who are nobody's own.
const NO_POWERS: &[&str] = &[
    "POST /api/v1/submissions/{id}/objections",
    "POST /submissions/{id}/objections",
    "POST /api/v1/submissions/{id}/objections/{objection}/answer",
    "POST /organizer/{slug}/review/{submission}/objections/{objection}",
    "POST /teams/{id}/leave",
    "DELETE /api/v1/challenges/{slug}/organizers/{account}",
    "POST /organizer/{slug}/organizers/{account}/remove",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    /// An entry that waits.
    Waiting,
    Scored,
    /// With a second member and an invitation.
    Team,
    /// A member who is banned.
    Banned,
    /// An account that wants to take part.
    Asker,
}

#[tokio::test]
async fn an_organizers_power_needs_the_scope_admin_a_reason_and_leaves_a_line() {
    let of_somebody = |path: &str| {
        ["/submissions/{id}", "/teams/{id}", "{submission}", "{account}"].iter().any(|part| path.contains(part))
    };
    let listed = |route: &str| POWERS.iter().any(|(power, ..)| *power == route) || NO_POWERS.contains(&route);
    let missing: Vec<_> = ROUTES
        .iter()
        .filter(|(route, whom)| !route.starts_with("GET") && matches!(whom, For::Team | Owner | Organizers))
        .map(|(route, _)| *route)
        .filter(|route| of_somebody(route) && !listed(route))
        .collect();
    assert!(missing.is_empty(), "say in POWERS how an organizer does it: {missing:#?}");

    let web = Web::start().await;
    let phase =
        web.app.phase_with(|_| {}, |rules| rules.ranking.entry = upscore::challenge::protocol::EntryRule::Chosen).await;
    let olga = web.app.team(&web.app.phase().await, "Elsewhere").await;
    sqlx::query("update account set is_organizer = true where id = $1")
        .bind(olga.account)
        .execute(&web.app.pool)
        .await
        .expect("an organizer");
    let [read, submit, admin] = [Scope::Read, Scope::Submit, Scope::Admin].map(|scope| web.token_that_may(olga, scope));
    let (read, submit, admin) = (read.await, submit.await, admin.await);
    for (n, &(route, thing, fields)) in POWERS.iter().enumerate() {
        let team = web.app.team(&phase, &format!("Team {n}")).await;
        let other = web.app.team(&web.app.phase().await, "x").await.account;
        let entry = web.app.enter(&phase, team).await;
        let mut conn = web.app.conn().await;
        match thing {
            Thing::Scored => drop(web.app.drain_queue().await),
            Thing::Waiting | Thing::Team => {}
            Thing::Banned => {
                let pool = &web.app.pool;
                team::people::ban(pool, phase.challenge, other, "a test", &Actor::Shell).await.expect("banned");
            }
            Thing::Asker => {
                sqlx::query("insert into participant (challenge_id, account_id, state, wanted_name) values ($1, $2, 'waiting', 'w')")
                    .bind(phase.challenge)
                    .bind(other)
                    .execute(&mut *conn)
                    .await
                    .expect("waits");
            }
        }
        if thing == Thing::Team {
            team::join(&mut conn, team.id, other, Role::Member).await.expect("joined");
        }
        let week = std::time::Duration::from_secs(7 * 86_400);
        let (invitation, _) =
            team::invitation::create(&mut conn, team.id, team.account, None, week, &team::Right::Owner(team.account))
                .await
                .expect("made");
        let name = account::get(&mut conn, other).await.expect("read").expect("the account").name;
        let seen = upscore::review::mark::marks(&mut conn, entry).await.expect("marks").seen;
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let id = if path.contains("/teams/") { team.id.to_string() } else { entry.to_string() };
        let address = path
            .replace("{id}", &id)
            .replace("{submission}", &entry.to_string())
            .replace("{slug}", &phase.challenge_slug)
            .replace("{account}", &other.to_string())
            .replace("{invitation}", &invitation.to_string());
        let lines = async || {
            sqlx::query_as::<_, (String, String, Option<uuid::Uuid>)>(
                "select action, reason, account_id from audit where challenge_id = $1 or challenge_id is null order by id",
            )
            .bind(phase.challenge)
            .fetch_all(&web.app.pool)
            .await
            .expect("the log")
        };
        let call = async |token: &str, reason: Option<&str>| {
            let field_of_reason = if path.ends_with("/fact-sheet") { "organizers_reason" } else { "reason" };
            let (kind, body) = if path.starts_with("/api/") {
                let mut body = serde_json::Map::new();
                for (field, json) in fields {
                    body.insert((*field).into(), serde_json::from_str(&json.replace("NAME", &name)).expect("JSON"));
                }
                body.extend(reason.map(|reason| (field_of_reason.to_owned(), reason.into())));
                ("application/json", serde_json::Value::Object(body).to_string())
            } else {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(
                    fields.iter().map(|(field, value)| (*field, value.replace("SEEN", &seen).replace("NAME", &name))),
                );
                form.extend_pairs(reason.map(|reason| (field_of_reason, reason)));
                ("application/x-www-form-urlencoded", form.finish())
            };
            let method: Method = method.parse().expect("a method");
            let ask = request(method, &address, Some(token)).header(header::CONTENT_TYPE, kind);
            web.send(ask.body(body.into()).expect("a request")).await
        };
        let before = lines().await;
        for (token, scope) in [(&read, "read"), (&submit, "submit")] {
            let refused = call(token, Some("because")).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{route} by {scope}: {}", refused.text);
        }
        for reason in [None, Some("  ")] {
            let refused = call(&admin, reason).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{route} without a reason: {}", refused.text);
        }
        assert_eq!(lines().await, before, "{route}: nothing was done");
        let done = call(&admin, Some("because")).await;
        let status = done.status;
        assert!(status.is_success() || status.is_redirection(), "{route}: {status} {}", done.text);
        let after = lines().await;
        assert_eq!(after.len(), before.len() + 1, "{route} leaves one line");
        let (action, reason, by) = after.last().expect("a line");
        assert_eq!((reason.as_str(), *by), ("because", Some(olga.account.0)), "{route}: {action}");
    }

    // Reading is a power too: another team's files need the scope, and leave a line.
    let team = web.app.team(&phase, "Read").await;
    let entry = web.app.enter(&phase, team).await;
    web.app.storage.put(entry.to_string().as_bytes()).await.expect("its files");
    web.app.drain_queue().await;
    for file in ["model", "results"] {
        let path = format!("/api/v1/submissions/{entry}/{file}");
        for token in [&read, &submit] {
            let refused = web.get_as(token, &path).await;
            assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "scope_not_admin"), "{file}");
        }
        let line =
            "select count(*) from audit where action = 'submission.download' and object = $1 and account_id = $2";
        let lines = async || {
            let count = sqlx::query_scalar::<_, i64>(line).bind(entry.to_string()).bind(olga.account.0);
            count.fetch_one(&web.app.pool).await.expect("a count")
        };
        let before = lines().await;
        assert_eq!(web.get_as(&admin, &path).await.status, StatusCode::OK);
        assert_eq!(web.get_as(&web.token_that_may(team, Scope::Read).await, &path).await.status, StatusCode::OK);
        assert_eq!(lines().await, before + 1, "of the organizer's, not of the team's");
    }
    // Nor does a small token see what only organizers see.
    let hidden = web.app.phase_with(|new| new.visibility = upscore::challenge::phase::Visibility::Hidden, |_| {}).await;
    let secret = web.app.enter(&hidden, web.app.team(&hidden, "Secret").await).await;
    web.app.drain_queue().await;
    let board = format!("/api/v1/challenges/{}/phases/validation/leaderboard", hidden.challenge_slug);
    for token in [&read, &submit] {
        assert_eq!(web.get_as(token, &board).await.code(), "not_published");
        assert_eq!(web.get_as(token, &format!("/api/v1/submissions/{secret}")).await.code(), "scope_not_admin");
    }
    assert_eq!(web.get_as(&admin, &board).await.status, StatusCode::OK);
}
