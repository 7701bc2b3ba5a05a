-- People and how they prove who they are. Ids are UUIDv7, made by the application, so that they sort by time.
-- Every SHA-256 is 64 lower-case hexadecimal digits. Every time is UTC by this database's clock.

create table account (
    id            uuid primary key,
    -- Login and public name; unique without regard to case.
    name          text not null check (name ~ '^[[:alnum:]_.@ -]{1,64}$'),
    -- Optional: a server without mail works without it.
    email         text check (length(email) <= 254),
    -- Argon2id in PHC form; null: this account signs in by token only.
    password_hash text,
    -- May run challenges and see hidden figures.
    is_organizer  boolean not null default false,
    created_at    timestamptz not null default now()
);
create unique index account_name_key on account (lower(name));
create unique index account_email_key on account (lower(email));

-- A sign-in of a browser.
create table session (
    id           uuid primary key,
    account_id   uuid not null references account on delete cascade,
    -- Of the cookie's 256 random bits; the cookie itself is never stored.
    token_sha256 text not null unique check (token_sha256 ~ '^[0-9a-f]{64}$'),
    -- Shown in the list of own sessions.
    user_agent   text check (length(user_agent) <= 400),
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    expires_at   timestamptz not null
);
create index session_account on session (account_id);

-- A key for scripts. It acts for its account; the team follows from the challenge.
create table api_token (
    id           uuid primary key,
    account_id   uuid not null references account on delete cascade,
    -- The owner's word for it.
    name         text not null check (length(name) between 1 and 100),
    -- The first characters, so that an owner recognises it in a list and a scanner in a leak.
    prefix       text not null check (length(prefix) between 8 and 16),
    -- The whole token is shown once and never stored.
    token_sha256 text not null unique check (token_sha256 ~ '^[0-9a-f]{64}$'),
    -- read: own entries and boards; submit: and upload; admin: all that the account may do.
    scope        text not null check (scope in ('read', 'submit', 'admin')),
    created_at   timestamptz not null default now(),
    -- Kept to the minute, so that a busy script does not write with every call.
    last_used_at timestamptz,
    -- Null: does not expire.
    expires_at   timestamptz,
    revoked_at   timestamptz
);
create index api_token_account on api_token (account_id);
