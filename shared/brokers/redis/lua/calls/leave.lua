-- needs: leasing
-- args: worker, blame. Answers the suspects that wait to be run alone.
local w = worker(args[1])
if w then
    local held, unfetched = call('SMEMBERS', w.key .. ':h'), {}
    for _, n in ipairs(w.leases) do unfetched[num(n)] = true end
    remove_worker(w)
    for _, n in ipairs(held) do free_lease(tonumber(n), args[2] and not unfetched[n], true) end
    assign()
end
return ok(pack(call('LLEN', SUSPECTS)))
