-- An entry that the server makes of a phase's baseline: its model is the phase's, its images are made by that model.

-- The team of a challenge that such entries are in the name of. Nobody is in it.
alter table team add column of_organizers boolean not null default false;
create unique index team_of_organizers on team (challenge_id) where of_organizers;

alter table submission
    -- Its images are made by its own model each time before it is measured, on the images of that measurement. Until the first
    -- time, results_sha256 names an empty zip.
    add column own_images boolean not null default false,
    -- Null: nobody pressed a button.
    alter column account_id drop not null,
    add constraint submission_of_somebody check (account_id is not null or own_images);
