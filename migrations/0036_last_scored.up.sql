-- What an evaluation takes is told from the last ones that were scored: everybody who waits asks for it every few seconds.
create index evaluation_last_scored on evaluation (finished_at desc) where state = 'scored';
