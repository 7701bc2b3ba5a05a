drop index evaluation_last_scored;
