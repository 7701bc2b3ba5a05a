-- How people get in, and how often they may try.

-- A mail address is private, and unproven until a link mailed to it was used. Two accounts may state the same one: the
-- sign-up could otherwise be asked which addresses are known. The confirmed account, then the oldest, signs in by it.
drop index account_email_key;
create index account_email on account (lower(email));
alter table account
    add column email_confirmed_at timestamptz,
    -- Shut out by an organizer: no sign-in, session or token of it works.
    add column disabled_at timestamptz;

-- A session that was begun with a token can do no more than the token, and ends with it. Null: begun with a password.
alter table session add column token_id uuid references api_token on delete cascade;
create index session_token on session (token_id) where token_id is not null;

-- Tries at what must not be tried often; kept for 30 days. An attempt counts as failed until it has succeeded.
create table attempt (
    id        bigint generated always as identity primary key,
    kind      text not null check (kind in ('sign_in', 'sign_up', 'reset')),
    -- The account's id; the SHA-256 of a name that no account has, so that unknown names are counted alike.
    subject   text not null check (length(subject) <= 64),
    -- Of the client; of IPv6 the /64 network, since one customer has all of it.
    address   text not null check (length(address) <= 50),
    succeeded boolean not null default false,
    at        timestamptz not null default now()
);
create index attempt_subject on attempt (kind, subject, at);
create index attempt_address on attempt (kind, address, at);
create index attempt_at on attempt (at);

-- A link that sets a new password, once.
create table reset_link (
    id           uuid primary key,
    account_id   uuid not null references account on delete cascade,
    -- Of the link's 256 random bits; the link itself is never stored.
    token_sha256 text not null unique check (token_sha256 ~ '^[0-9a-f]{64}$'),
    -- It went by mail: whoever uses it reads the account's mail.
    mailed       boolean not null,
    -- The organizer who made it; null: by mail, or from the shell.
    made_by      uuid references account on delete set null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index reset_link_account on reset_link (account_id);
