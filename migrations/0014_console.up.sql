-- What organizers need around a challenge: bans, announcements and their deliveries, and who measures.

-- Words that stand beside `{slug}` in the organizers' addresses, as /organizer/workers, or beside `{phase}` below them.
alter table challenge add constraint challenge_slug_reserved check (slug not in
    ('new', 'import', 'workers', 'requests', 'reset', 'audit', 'datasets', 'presets', 'accounts')) not valid;
alter table phase add constraint phase_slug_reserved check (slug not in
    ('review', 'reruns', 'participants', 'organizers', 'announcements', 'webhook', 'audit', 'settings', 'exports'))
    not valid;

alter table participant
    drop constraint participant_state_check,
    -- removed: taken out by an organizer, and may ask again; banned: neither joins, nor submits, nor accepts invitations.
    add constraint participant_state_check check (state in ('waiting', 'joined', 'declined', 'removed', 'banned')),
    -- Shown to the account.
    add column ban_reason text check (length(ban_reason) between 1 and 2000),
    add constraint participant_ban_has_a_reason check ((state = 'banned') = (ban_reason is not null));

alter table account
    -- Announcements of the challenges that it takes part in come by mail too, where the server mails.
    add column announcements_by_mail boolean not null default true,
    -- In the link that stops them, so that it works for whoever reads the mail and for nobody else.
    add column mail_key uuid not null default gen_random_uuid() unique;

create table announcement (
    id           uuid primary key,
    challenge_id uuid not null references challenge on delete cascade,
    title        text not null check (length(title) between 1 and 200 and title = btrim(title)),
    -- Markdown.
    body         text not null check (length(body) between 1 and 20000),
    -- Who wrote it; null: from the shell, or the account is gone.
    account_id   uuid references account on delete set null,
    created_at   timestamptz not null default now(),
    -- Taken off the page; the mails are out.
    withdrawn_at timestamptz
);
create index announcement_challenge on announcement (challenge_id, id desc);

-- Where a challenge's events are posted to.
create table webhook (
    challenge_id uuid primary key references challenge on delete cascade,
    url          text not null check (length(url) <= 2000),
    -- The key of the signature, 64 hexadecimal digits: shown once, kept as it is since it signs.
    secret       text not null check (secret ~ '^[0-9a-f]{64}$'),
    created_at   timestamptz not null default now()
);

-- What is to be sent, written in the transaction of what it tells of, and sent afterwards, at least once: a crash loses
-- nothing.
create table outbox (
    -- UUIDv7: sorts by time.
    id           uuid primary key,
    challenge_id uuid not null references challenge on delete cascade,
    -- mail: an announcement to one account; webhook: an event to the challenge's address.
    kind         text not null check (kind in ('mail', 'webhook')),
    -- announcement, submission.scored, phase.published, ping
    event        text not null check (event ~ '^[a-z_.]+$'),
    account_id   uuid references account on delete cascade,
    announcement_id uuid references announcement on delete cascade,
    -- A webhook's body; null for a mail, which is made when it is sent.
    payload      jsonb,
    state        text not null default 'waiting' check (state in ('waiting', 'sent', 'failed')),
    -- Raised when it is taken, so that one that kills its sender counts.
    attempts     integer not null default 0,
    -- Not taken earlier: the pause after a failure, or another sender has it.
    not_before   timestamptz not null default now(),
    -- What the last try met: an HTTP status, or words.
    status       integer,
    error        text check (length(error) <= 500),
    created_at   timestamptz not null default now(),
    finished_at  timestamptz,
    check ((kind = 'mail') = (account_id is not null)),
    check ((kind = 'mail') = (payload is null)),
    check (kind <> 'mail' or announcement_id is not null),
    check ((state = 'waiting') = (finished_at is null))
);
create index outbox_waiting on outbox (not_before, id) where state = 'waiting';
create index outbox_challenge on outbox (challenge_id, kind, id desc);

-- The workers, by their own word.
create table worker (
    -- Host, process and device, as in evaluation.worker.
    name         text primary key,
    device       text not null,
    device_class text not null check (device_class in ('cpu', 'cuda')),
    -- Of Upscore.
    version      text not null,
    started_at   timestamptz not null default now(),
    -- Older than a few beats: it is gone.
    seen_at      timestamptz not null default now(),
    -- It was told to stop, and did.
    stopped_at   timestamptz,
    -- The host's load over the last minute, in processes; null: not known there.
    load         double precision,
    cores        integer not null check (cores > 0),
    -- Jobs that it ended since it started.
    jobs         bigint not null default 0
);
