-- needs: leasing
-- args: worker, blame. Answers the suspects that wait to be run alone.
local w = worker(args[1])
if w then
    local held = call('SMEMBERS', w.key .. ':h')
    remove_worker(w)
    for _, n in ipairs(held) do free_lease(tonumber(n), args[2], true) end
    assign()
end
return ok(pack(call('LLEN', SUSPECTS)))
