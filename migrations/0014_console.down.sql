drop table worker;
drop table outbox;
drop table webhook;
drop table announcement;
alter table account drop column mail_key, drop column announcements_by_mail;
update participant set state = 'declined', ban_reason = null where state in ('removed', 'banned');
alter table participant
    drop constraint participant_ban_has_a_reason,
    drop column ban_reason,
    drop constraint participant_state_check,
    add constraint participant_state_check check (state in ('waiting', 'joined', 'declined'));
alter table phase drop constraint phase_slug_reserved;
alter table challenge drop constraint challenge_slug_reserved;
