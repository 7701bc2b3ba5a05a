-- Datasets that organizers make in the browser, and the sample submissions made of them.

alter table dataset
    -- The challenge whose organizers may use it; null: those whose phases use it, and who runs the whole server.
    add column challenge_id uuid references challenge on delete set null;

-- One dataset on its way from files to a version, while it is made and after.
create table dataset_build (
    id           uuid primary key,
    -- Who asked, by the name of then.
    account_id   uuid references account on delete set null,
    account_name text not null,
    -- As the dataset's.
    challenge_id uuid references challenge on delete set null,
    -- Without a version.
    name         text not null check (length(name) between 1 and 100),
    scale        integer not null check (scale between 1 and 16),
    -- working, made or refused.
    state        text not null default 'working' check (state in ('working', 'made', 'refused')),
    -- Images that are read, and all; 0 of 0 while the zip is unpacked.
    done         integer not null default 0,
    total        integer not null default 0,
    -- Why it was refused.
    problems     jsonb not null default '[]' check (jsonb_typeof(problems) = 'array'),
    -- What it made, or found: the same images are the same version.
    dataset_id   uuid references dataset,
    created_at   timestamptz not null default now(),
    -- Moved on while somebody works on it; one that stands still was given up with its server.
    seen_at      timestamptz not null default now(),
    finished_at  timestamptz,
    check ((state = 'made') = (dataset_id is not null)),
    check ((state = 'working') = (finished_at is null))
);
create index dataset_build_time on dataset_build (created_at desc);

-- A results zip of bicubic images, made when somebody first asks for it.
create table dataset_sample (
    dataset_id uuid primary key references dataset on delete cascade,
    sha256     text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    bytes      bigint not null check (bytes > 0)
);
