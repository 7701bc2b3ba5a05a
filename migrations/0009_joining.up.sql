-- How accounts come to a challenge and into its teams.

alter table challenge
    -- open: accepting the terms is enough; approval: an organizer lets each account in.
    add column join_policy text not null default 'open' check (join_policy in ('open', 'approval')),
    -- Markdown, accepted by everybody who joins; empty: there are none.
    add column terms text not null default '' check (length(terms) <= 100000),
    -- People in a team at most; null: no such limit.
    add column max_members integer check (max_members > 0);

-- An account that joined a challenge, or asked to. Those whom an organizer put into a team have no row.
create table participant (
    challenge_id    uuid not null references challenge on delete cascade,
    account_id      uuid not null references account on delete cascade,
    -- The terms as they were accepted; null: there were none.
    terms_sha256    text check (terms_sha256 ~ '^[0-9a-f]{64}$'),
    accepted_at     timestamptz not null default now(),
    -- waiting: for an organizer's word; joined: let in; declined: by an organizer.
    state           text not null check (state in ('waiting', 'joined', 'declined')),
    -- While waiting: the name of the team to be made …
    wanted_name     text check (length(wanted_name) between 1 and 100 and wanted_name = btrim(wanted_name)),
    -- … or the team whose invitation was accepted.
    wanted_team     uuid references team on delete set null,
    decided_by      uuid references account on delete set null,
    decided_at      timestamptz,
    -- Left a team that had sent entries in: may come back to it and into no other, which would be a second quota.
    bound_to        uuid references team on delete set null,
    primary key (challenge_id, account_id)
);
create index participant_waiting on participant (challenge_id, accepted_at) where state = 'waiting';

-- A link that lets accounts into a team.
create table invitation (
    id           uuid primary key,
    team_id      uuid not null references team on delete cascade,
    -- Of the link's 256 random bits; the link itself is shown once and never stored.
    token_sha256 text not null unique check (token_sha256 ~ '^[0-9a-f]{64}$'),
    made_by      uuid references account on delete set null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz not null,
    -- People who may still use it; null: any number until it expires.
    uses_left    integer check (uses_left >= 0),
    -- People who did.
    uses         integer not null default 0,
    revoked_at   timestamptz
);
create index invitation_team on invitation (team_id);
