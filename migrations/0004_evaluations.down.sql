drop table image_score;
drop table score;
drop table evaluation;
drop function evaluation_notify;
