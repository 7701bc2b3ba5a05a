-- What is competed in: rules, images, challenges and their phases, and the teams that take part.

-- One version of a rule set. Immutable: a score names the rules it was measured by, for ever.
create table protocol (
    id         uuid primary key,
    -- e.g. aim2020@1; a change of rules is a new version.
    name       text not null unique check (name ~ '^[a-z0-9][a-z0-9.-]*@[0-9]+$'),
    -- challenge::protocol::Rules: fidelity, gate comparison, ranking, timing, limits, FLOP profile, device class.
    rules      jsonb not null,
    created_at timestamptz not null default now()
);
create function protocol_is_immutable() returns trigger language plpgsql as $$
begin
    raise exception 'protocol % is immutable: make a new version', old.name using errcode = 'restrict_violation';
end $$;
create trigger protocol_is_immutable before update or delete on protocol
    for each row execute function protocol_is_immutable();

-- A set of image pairs. A change is a new dataset, so that old scores keep their reference.
create table dataset (
    id         uuid primary key,
    name       text not null unique check (length(name) between 1 and 100),
    -- HR size over LR size.
    scale      integer not null check (scale between 1 and 16),
    created_at timestamptz not null default now()
);

create table dataset_image (
    dataset_id uuid not null references dataset on delete cascade,
    -- The id that both sides are paired by: 0901 for 0901.png and 0901x4.png.
    name       text not null check (length(name) between 1 and 80),
    -- Pixels; the HR is already cropped to a multiple of the scale.
    hr_width   integer not null check (hr_width > 0),
    hr_height  integer not null check (hr_height > 0),
    lr_width   integer not null check (lr_width > 0),
    lr_height  integer not null check (lr_height > 0),
    -- The hidden ground truth: no route serves this blob.
    hr_sha256  text not null check (hr_sha256 ~ '^[0-9a-f]{64}$'),
    -- For participants to download.
    lr_sha256  text not null check (lr_sha256 ~ '^[0-9a-f]{64}$'),
    lr_bytes   bigint not null check (lr_bytes > 0),
    primary key (dataset_id, name)
);

create table challenge (
    id          uuid primary key,
    -- In addresses.
    slug        text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    title       text not null check (length(title) between 1 and 200),
    -- Markdown, shown on the challenge's page.
    description text not null default '',
    created_at  timestamptz not null default now()
);

create table phase (
    id           uuid primary key,
    challenge_id uuid not null references challenge on delete cascade,
    slug         text not null check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    title        text not null check (length(title) between 1 and 200),
    -- Order on the challenge's page, from 1.
    position     integer not null,
    dataset_id   uuid not null references dataset,
    protocol_id  uuid not null references protocol,
    -- Open while opens_at <= now() < closes_at; null: no such bound. This database's clock decides, when the last byte
    -- of an upload is in.
    opens_at     timestamptz,
    closes_at    timestamptz,
    -- Completed evaluations a team may have each UTC day; queued and running ones count until they end.
    daily_quota  integer not null check (daily_quota > 0),
    -- The same over the whole phase; null: no such limit.
    total_quota  integer check (total_quota > 0),
    -- Runs of a team that may fail each UTC day through its own file, or be cancelled while running.
    daily_attempts integer not null,
    -- What an upload must hold. The evaluator measures both, so both are required for now.
    required_artifacts text[] not null default '{results,model}' check (required_artifacts = '{results,model}'),
    -- live: everybody sees figures at once; own: a team sees only its own; hidden: nobody but organizers until published.
    visibility   text not null default 'live' check (visibility in ('live', 'own', 'hidden')),
    -- Organizers published a phase that was not live.
    published_at timestamptz,

    -- The gate. A stated PSNR in dB (as 29.00) decides where there is one; else the measured PSNR of the baseline
    -- submission; else there is no gate. How it is compared (exact or rounded) is a rule of the protocol.
    gate_psnr    double precision check (gate_psnr between 0 and 100),
    -- The entry that is marked as the baseline on the board and never ranked.
    baseline_submission_id uuid,
    -- The baseline's public name, as MSRResNet.
    baseline_name  text not null default 'Baseline' check (length(baseline_name) between 1 and 100),
    -- Its model, timed interleaved with each entry; null: entries are timed alone.
    baseline_model_sha256 text check (baseline_model_sha256 ~ '^[0-9a-f]{64}$'),
    baseline_model_bytes  bigint check (baseline_model_bytes > 0),

    unique (challenge_id, slug),
    constraint phase_opens_before_it_closes check (opens_at < closes_at),
    constraint phase_attempts_cover_quota check (daily_attempts >= daily_quota),
    check ((baseline_model_sha256 is null) = (baseline_model_bytes is null))
);

create table team (
    id           uuid primary key,
    challenge_id uuid not null references challenge on delete cascade,
    name         text not null check (length(name) between 1 and 100 and name = btrim(name)),
    created_at   timestamptz not null default now(),
    -- So that membership can prove that its team is of its challenge.
    unique (id, challenge_id)
);
create unique index team_name_key on team (challenge_id, lower(name));

create table membership (
    team_id      uuid not null,
    challenge_id uuid not null,
    account_id   uuid not null references account on delete cascade,
    -- owner: invites, renames, removes; member: submits.
    role         text not null default 'member' check (role in ('owner', 'member')),
    joined_at    timestamptz not null default now(),
    primary key (team_id, account_id),
    -- One team per person and challenge.
    constraint membership_one_team unique (challenge_id, account_id),
    foreign key (team_id, challenge_id) references team (id, challenge_id) on delete cascade
);
