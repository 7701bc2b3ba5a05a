drop table reset_link;
drop table attempt;
-- A session by token would become one by password.
delete from session where token_id is not null;
alter table session drop column token_id;
-- Of several accounts with one address, the one that signed in by it keeps it.
update account a set email = null
where exists (select from account b where lower(b.email) = lower(a.email)
    and (b.email_confirmed_at is null, b.created_at, b.id) < (a.email_confirmed_at is null, a.created_at, a.id));
alter table account drop column email_confirmed_at, drop column disabled_at;
drop index account_email;
create unique index account_email_key on account (lower(email));
