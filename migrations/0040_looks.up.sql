-- What a name looks like: its skeleton by UTS 39 in lower case, so that no name can be taken for another. Null: older than this
-- column, or alike with an older one; the server fills in what it can when it starts.
alter table account add column look text;
create unique index account_look_key on account (look);
alter table team add column look text;
create unique index team_look_key on team (challenge_id, look);

-- Titles hold nothing that is not seen: control, format and filling characters.
create function shows_all(words text) returns boolean language sql immutable as $$
    select words !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]'
$$;
update challenge set title = slug where not shows_all(title);
update phase set title = slug where not shows_all(title);
-- What the updates left for the end of the transaction.
set constraints all immediate;
alter table challenge add constraint challenge_title_visible check (shows_all(title));
alter table phase add constraint phase_title_visible check (shows_all(title));
