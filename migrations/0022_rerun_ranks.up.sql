-- What a batch of re-runs did to the ranks, kept as it was when the batch became official: later ones move them again.

alter table rerun
    -- Every entry that stood on the board, as [{"submission", "team", "before", "after"}], ranks or null where it had none.
    -- Null: the batch is not official, or became so before this was kept.
    add column ranks jsonb;
