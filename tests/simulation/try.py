import faulthandler; faulthandler.dump_traceback_later(230, exit=True)
import sys, time, traceback, logging, collections
logging.disable(logging.CRITICAL)
from simulation.schedule import Schedule
from simulation.witness import Broken
first, n = int(sys.argv[1]), int(sys.argv[2])
bad=collections.Counter(); seeds={}
t=time.time(); events=0; counts=collections.Counter()
for seed in range(first, first+n):
    s=Schedule(seed); t1=time.time()
    try:
        w=s.run(); counts+=w.counts; events+=w.witness.order
    except BaseException as e:
        print("seed",seed,flush=True)
        if isinstance(e, KeyboardInterrupt): raise
        key=type(e).__name__+": "+"".join(c for c in str(e)[:70] if not c.isdigit())
        bad[key]+=1; seeds.setdefault(key,[]).append(seed)
        if n==1: traceback.print_exc(); print(s.world.setup); print('\n'.join(s.world.witness.story[-int(sys.argv[3]) if len(sys.argv)>3 else -60:]))
el=time.time()-t
print(n,"schedules",round(el,1),"s",round(n/el*60),"/min", events)
for k,v in bad.most_common(40): print(v,k,seeds[k][:5])
if n>50: print(dict(counts.most_common()))
