-- Resumable uploads (tus): files on their way in, before a submission names them. How far one has come is the length of
-- its file in the data folder, so that nothing here can disagree with the bytes.

create table upload (
    id         uuid primary key,
    account_id uuid not null references account on delete cascade,
    -- What it is for: the phase decides how long it may be.
    phase_id   uuid not null references phase on delete cascade,
    part       text not null check (part in ('results', 'model', 'bundle')),
    -- As the client calls it; tells model.onnx from its data file.
    filename   text not null check (length(filename) between 1 and 255),
    -- Bytes of the whole file.
    length     bigint not null check (length > 0),
    -- What the client says its SHA-256 is, checked when a submission names it; null: it does not say.
    sha256     text check (sha256 ~ '^[0-9a-f]{64}$'),
    created_at timestamptz not null default now(),
    -- The submission that used it: its file is gone, and a repeated request learns of the first. null: not used.
    submission_id uuid references submission on delete cascade,
    -- Moved on by every piece that arrives; past it the file and this row are removed.
    expires_at timestamptz not null
);
create index upload_account on upload (account_id, id);
create index upload_expiry on upload (expires_at);
