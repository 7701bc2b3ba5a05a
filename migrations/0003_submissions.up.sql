-- What a team sent in. A row is written once; only its owner's and the organizers' marks change later.

create table submission (
    id             uuid primary key,
    phase_id       uuid not null references phase,
    team_id        uuid not null references team,
    -- Who pressed the button.
    account_id     uuid not null references account,
    -- The results zip, as uploaded.
    results_sha256 text not null check (results_sha256 ~ '^[0-9a-f]{64}$'),
    results_bytes  bigint not null check (results_bytes > 0),
    -- The self-contained model that is measured.
    model_sha256   text not null check (model_sha256 ~ '^[0-9a-f]{64}$'),
    model_bytes    bigint not null check (model_bytes > 0),
    -- The file as it was uploaded; differs from model_sha256 where data files were merged in. Only its hash is kept: it
    -- tells a repeated upload from a new one.
    uploaded_model_sha256 text not null check (uploaded_model_sha256 ~ '^[0-9a-f]{64}$'),
    -- What the team says of its method: text fields by name.
    fact_sheet     jsonb not null default '{}' check (jsonb_typeof(fact_sheet) = 'object'),
    -- The zip's readme.txt as read (self-reported figures); null: it had none that could be read.
    readme         jsonb,
    -- The client's name for this request: a repetition after a lost reply gives the first result again.
    idempotency_key text check (length(idempotency_key) between 1 and 200),
    created_at     timestamptz not null default now(),
    -- The team took it off the board; history and quota keep it.
    withdrawn_at   timestamptz,
    -- The team's choice of the entry that stands on the board.
    chosen         boolean not null default false,
    -- none; held: not ranked until reviewed; disqualified: not ranked.
    organizer_status text not null default 'none' check (organizer_status in ('none', 'held', 'disqualified')),
    -- Shown to the team.
    organizer_reason text,
    check ((organizer_status = 'none') = (organizer_reason is null))
);
create unique index submission_idempotency on submission (team_id, idempotency_key);
create unique index submission_one_chosen on submission (phase_id, team_id) where chosen;
create index submission_team on submission (team_id, phase_id, created_at desc);
create index submission_phase on submission (phase_id, created_at desc);
create index submission_same_model on submission (model_sha256);

alter table phase add constraint phase_baseline_submission
    foreign key (baseline_submission_id) references submission;
