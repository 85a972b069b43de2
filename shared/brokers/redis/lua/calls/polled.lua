-- needs: leasing
-- args: worker, number, final
return ok(polled(worker(args[1]), args[2], args[3]) or pack(nil))
