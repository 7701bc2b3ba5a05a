-- A challenge as one file: pages, and datasets that exist before a phase and have versions.

-- The pages of a challenge besides its description, in their order.
create table challenge_page (
    challenge_id uuid not null references challenge on delete cascade,
    -- From 1.
    position     integer not null check (position > 0),
    title        text not null check (length(title) between 1 and 100),
    -- Markdown.
    body         text not null check (length(body) <= 100000),
    primary key (challenge_id, position)
);

alter table dataset
    -- With the name: div2k-valid@2. A version never changes; other images are another version.
    add column version integer not null default 1 check (version > 0),
    -- Over the scale and every image's name, LR hash and HR hash: the same images make the same version. It tells nothing of
    -- any image.
    add column sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
    add constraint dataset_name_is_plain check (name !~ '[@[:space:]]');
alter table dataset alter column version drop default;
update dataset d set sha256 = (
    select encode(sha256(convert_to('x' || d.scale || E'\n' || coalesce(string_agg(
               name || ' ' || lr_sha256 || ' ' || hr_sha256 || E'\n', '' order by name collate "C"), ''), 'UTF8')), 'hex')
    from dataset_image where dataset_id = d.id);
alter table dataset alter column sha256 set not null;
alter table dataset drop constraint dataset_name_key;
alter table dataset add constraint dataset_version_key unique (name, version);

-- The images it was measured on: a board reads only those of its phase's present dataset.
alter table evaluation add column dataset_id uuid references dataset;
update evaluation e set dataset_id = p.dataset_id
    from submission s join phase p on p.id = s.phase_id where s.id = e.submission_id;
alter table evaluation alter column dataset_id set not null;
