alter table phase drop constraint phase_title_visible;
alter table challenge drop constraint challenge_title_visible;
drop function shows_all(text);
drop index team_look_key;
alter table team drop column look;
drop index account_look_key;
alter table account drop column look;
