-- What a client said of an upload when it began it, as it said it: tus wants all of it back.

-- The header `Upload-Metadata`, with keys that mean nothing to us too; empty: none was sent.
alter table upload add metadata text not null default '' check (length(metadata) <= 16384);
