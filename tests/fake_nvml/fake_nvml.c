/* A libnvidia-ml.so.1 whose GPUs are the lines of a text file, read anew at each call: see tests/support/nvidia.py.

   init CODE                        what nvmlInit answers
   hang                             every call waits for as long as the file says so
   abort                            the next call ends the process
   version 2                        as before R510: no third version of process lists, no second of memory
   gpu UUID NAME DOMAIN:BUS:DEVICE KEY=VALUE...
       handle, error                codes with which its handle, or every other query, is refused
       total, used (MiB), util, temp, ecc, mig (1: in MIG mode; 2: nobody can tell)
       processes, graphics=PID:MIB:GI:CI,...  MIB and the ids of the instances may be left out
       listing                      a code with which lists of processes are refused
       garbled=1                    the third version of lists is nonsense but for its first entry
       xid=NUMBER/SERIAL            an event, told once for each serial
       nvlinks=DOMAIN:BUS:DEVICE,...  the far ends of its links
       minor                        of its device file
   slice UUID PROFILE GPU:NUMBER:0 KEY=VALUE...
       a MIG device, number NUMBER of the GPU in that line of this file, with the keys above and also
       gi, ci, nameless=1 (its name is that of its GPU), parts, of, size (its attributes)
   way UUID UUID LEVEL              nvmlGpuTopologyLevel_t; SYSTEM where there is no line */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, BAD_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, NOT_LOADED = 9,
       TIMEOUT = 10, NO_FUNCTION = 13, UNKNOWN = 999 };
enum { MOST = 32, WIDE = 512, MOST_SLICES = 7 };

typedef struct { char uuid[96], name[96], keys[WIDE]; unsigned domain, bus, device; } Gpu; /* or a slice: see above */
typedef struct { char uuid[96], told[32]; } Device; /* what a handle points to: it outlives the file's line */
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { Device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;

static Gpu gpus[MOST], slices[MOST];
static int count, slice_count, init_code, level, version;
static Device devices[MOST];

static void load(const char *one, const char *other) {
    char line[2 * WIDE];
    for (int hangs = 1; hangs;) {
        const char *path = getenv("FAKE_NVML");
        FILE *file = path ? fopen(path, "r") : NULL;
        hangs = count = slice_count = 0;
        level = 50;
        version = 3;
        init_code = file ? OK : NOT_LOADED;
        while (file && fgets(line, sizeof line, file)) {
            char from[96], to[96];
            int way;
            int whole = strncmp(line, "slice ", 6), *number = whole ? &count : &slice_count;
            Gpu *gpu = whole ? &gpus[count] : &slices[slice_count];
            if (!strncmp(line, "abort", 5)) abort();
            if (!strncmp(line, "hang", 4)) hangs = 1;
            sscanf(line, "init %d", &init_code);
            sscanf(line, "version %d", &version);
            if (one && sscanf(line, "way %95s %95s %d", from, to, &way) == 3)
                if ((!strcmp(one, from) && !strcmp(other, to)) || (!strcmp(one, to) && !strcmp(other, from))) level = way;
            gpu->keys[0] = ' ';
            gpu->keys[1] = 0;
            if (*number < MOST && sscanf(line, "%*[a-z] %95s %95s %x:%x:%x%511[^\n]", gpu->uuid, gpu->name,
                                         &gpu->domain, &gpu->bus, &gpu->device, gpu->keys) >= 5) ++*number;
        }
        if (file) fclose(file);
        if (hangs) usleep(20000);
    }
}

static const char *text(const Gpu *gpu, const char *key) {
    static char value[WIDE];
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *found = strstr(gpu->keys, wanted);
    if (!found || sscanf(found + strlen(wanted), "%511s", value) != 1) return NULL;
    return value;
}

static long number(const Gpu *gpu, const char *key, long otherwise) {
    const char *found = text(gpu, key);
    return found ? atol(found) : otherwise;
}

static Gpu *find(const Device *device, int *code) {
    load(NULL, NULL);
    for (int i = 0; i < count; i++)
        if (!strcmp(gpus[i].uuid, device->uuid)) {
            *code = (int)number(&gpus[i], "error", OK);
            return &gpus[i];
        }
    *code = 15; /* it is gone */
    return NULL;
}

static Gpu *find_slice(const Device *device) {
    load(NULL, NULL);
    for (int i = 0; i < slice_count; i++)
        if (!strcmp(slices[i].uuid, device->uuid)) return &slices[i];
    return NULL;
}

/* A GPU, or a slice where the query is one that slices answer. */
static Gpu *find_either(const Device *device, int *code) {
    Gpu *slice = find_slice(device);
    *code = slice ? (int)number(slice, "error", OK) : OK;
    return slice ? slice : find(device, code);
}

static int handle(const char *uuid, Device **device) {
    for (int i = 0; i < MOST; i++)
        if (!devices[i].uuid[0] || !strcmp(devices[i].uuid, uuid)) {
            strcpy(devices[i].uuid, uuid);
            *device = &devices[i];
            return OK;
        }
    return UNKNOWN;
}

#define GPU(device) int code; Gpu *gpu = find(device, &code); if (find_slice(device)) return NOT_SUPPORTED; if (code) return code
#define EITHER(device) int code; Gpu *gpu = find_either(device, &code); if (code) return code
#define SLICE(device) Gpu *gpu = find_slice(device); if (!gpu) return BAD_ARGUMENT

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    load(NULL, NULL);
#ifdef OUTDATED
    return 18;
#endif
    return init_code;
}
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the fake"; }

int nvmlDeviceGetCount_v2(unsigned *found) { load(NULL, NULL); *found = count; return init_code; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    load(NULL, NULL);
    if (index >= (unsigned)count) return BAD_ARGUMENT;
    long code = number(&gpus[index], "handle", OK);
    return code ? (int)code : handle(gpus[index].uuid, device);
}

int nvmlDeviceGetUUID(Device *device, char *uuid, unsigned size) { snprintf(uuid, size, "%s", device->uuid); return OK; }
int nvmlDeviceGetName(Device *device, char *name, unsigned size) {
    int code;
    Gpu *gpu = find_either(device, &code), *slice = find_slice(device);
    const char *profile = slice && !number(slice, "nameless", 0) ? slice->name : NULL;
    if (slice) gpu = &gpus[slice->domain];
    if (gpu) snprintf(name, size, profile ? "%s MIG %s" : "%s", gpu->name, profile);
    return gpu ? OK : code;
}

static void place(Pci *pci, unsigned domain, unsigned bus, unsigned device) {
    memset(pci, 0, sizeof *pci);
    pci->domain = domain, pci->bus = bus, pci->device = device;
    snprintf(pci->bus_id, sizeof pci->bus_id, "%08X:%02X:%02X.0", domain, bus, device);
}

int nvmlDeviceGetPciInfo_v3(Device *device, Pci *pci) {
    int code;
    Gpu *gpu = find(device, &code);
    if (gpu) place(pci, gpu->domain, gpu->bus, gpu->device);
    return gpu ? OK : code;
}

/* What the driver keeps for itself: the first version counts it as used, the second does not. */
#define RESERVED 480

int nvmlDeviceGetMemoryInfo(Device *device, unsigned long long *memory) { /* total, free, used */
    EITHER(device);
    memory[0] = (unsigned long long)number(gpu, "total", 24576) << 20;
    memory[2] = (unsigned long long)(number(gpu, "used", 0) + RESERVED) << 20;
    memory[1] = memory[0] - memory[2];
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(Device *device, unsigned long long *memory) { /* version, total, reserved, free, used */
    EITHER(device);
    if (version < 3) return NO_FUNCTION;
    if ((unsigned)memory[0] != 0x02000028) return BAD_ARGUMENT;
    memory[1] = (unsigned long long)number(gpu, "total", 24576) << 20;
    memory[2] = (unsigned long long)RESERVED << 20;
    memory[4] = (unsigned long long)number(gpu, "used", 0) << 20;
    memory[3] = memory[1] - memory[2] - memory[4];
    return OK;
}

int nvmlDeviceGetUtilizationRates(Device *device, unsigned *rates) {
    GPU(device);
    rates[0] = rates[1] = (unsigned)number(gpu, "util", 0);
    return OK;
}

int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *degrees) {
    (void)sensor;
    GPU(device);
    *degrees = (unsigned)number(gpu, "temp", 40);
    return OK;
}

int nvmlDeviceGetMinorNumber(Device *device, unsigned *minor) {
    GPU(device);
    if (!text(gpu, "minor")) return NOT_SUPPORTED;
    *minor = (unsigned)number(gpu, "minor", 0);
    return OK;
}

int nvmlDeviceGetTotalEccErrors(Device *device, unsigned kind, unsigned counter, unsigned long long *errors) {
    (void)counter;
    GPU(device);
    if (!text(gpu, "ecc")) return NOT_SUPPORTED;
    *errors = kind == 1 ? (unsigned long long)number(gpu, "ecc", 0) : 0;
    return OK;
}

int nvmlDeviceGetMigMode(Device *device, unsigned *current, unsigned *pending) {
    GPU(device);
    if (!text(gpu, "mig")) return NOT_SUPPORTED;
    if (number(gpu, "mig", 0) == 2) return UNKNOWN;
    *current = *pending = (unsigned)number(gpu, "mig", 0);
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *most) {
    GPU(device);
    *most = number(gpu, "mig", 0) == 1 ? MOST_SLICES : 0;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **slice) {
    GPU(device);
    for (int i = 0; i < slice_count; i++)
        if (&gpus[slices[i].domain] == gpu && slices[i].bus == index) return handle(slices[i].uuid, slice);
    return NOT_FOUND;
}

int nvmlDeviceGetGpuInstanceId(Device *device, unsigned *id) {
    SLICE(device);
    *id = (unsigned)number(gpu, "gi", 0);
    return OK;
}

int nvmlDeviceGetComputeInstanceId(Device *device, unsigned *id) {
    SLICE(device);
    *id = (unsigned)number(gpu, "ci", 0);
    return OK;
}

typedef struct { unsigned has[6], of, parts; unsigned long long size; } Attributes;

int nvmlDeviceGetAttributes_v2(Device *device, Attributes *attributes) {
    SLICE(device);
    if (!text(gpu, "size")) return NOT_SUPPORTED;
    memset(attributes, 0, sizeof *attributes);
    attributes->of = (unsigned)number(gpu, "of", 1);
    attributes->parts = (unsigned)number(gpu, "parts", 1);
    attributes->size = (unsigned long long)number(gpu, "size", 0);
    return OK;
}

static int list(Device *device, const char *key, unsigned *size, Process *processes, int asked) {
    EITHER(device);
    code = (int)number(gpu, "listing", OK);
    if (code || asked > version) return code ? code : NO_FUNCTION;
    int garbled = asked == 3 && number(gpu, "garbled", 0);
    const char *left = text(gpu, key);
    unsigned found = 0, room = processes ? *size : 0;
    for (; left && *left; left = strchr(left, ',') ? strchr(left, ',') + 1 : NULL, found++) {
        unsigned pid = 0, gi = ~0U, ci = ~0U;
        long mib = -1;
        sscanf(left, "%u:%ld:%u:%u", &pid, &mib, &gi, &ci);
        if (garbled && found) pid = ~0U;
        if (found < room) processes[found] = (Process){pid, mib < 0 ? ~0ULL : (unsigned long long)mib << 20, gi, ci};
    }
    *size = found;
    return found > room ? INSUFFICIENT_SIZE : OK;
}

#define LIST(kind, key, asked) \
    int nvmlDeviceGet##kind##RunningProcesses_v##asked(Device *device, unsigned *size, Process *processes) { \
        return list(device, key, size, processes, asked); \
    }
LIST(Compute, "processes", 3)
LIST(Compute, "processes", 2)
LIST(Graphics, "graphics", 3)
LIST(Graphics, "graphics", 2)

int nvmlDeviceGetNvLinkState(Device *device, unsigned link, unsigned *active) {
    GPU(device);
    const char *left = text(gpu, "nvlinks");
    for (unsigned i = 0; left && i < link; i++) left = strchr(left, ',') ? strchr(left, ',') + 1 : NULL;
    *active = 1;
    return left ? OK : BAD_ARGUMENT;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(Device *device, unsigned link, Pci *pci) {
    GPU(device);
    const char *left = text(gpu, "nvlinks");
    unsigned domain = 0, bus = 0, number = 0;
    for (unsigned i = 0; left && i < link; i++) left = strchr(left, ',') ? strchr(left, ',') + 1 : NULL;
    if (!left || sscanf(left, "%x:%x:%x", &domain, &bus, &number) != 3) return BAD_ARGUMENT;
    place(pci, domain, bus, number);
    return OK;
}

int nvmlDeviceGetP2PStatus(Device *one, Device *other, unsigned kind, unsigned *status) {
    (void)kind;
    GPU(one);
    int linked = text(gpu, "nvlinks") != NULL;
    gpu = find(other, &code);
    *status = linked && gpu && text(gpu, "nvlinks") ? 0 : 5;
    return OK;
}

int nvmlDeviceGetTopologyCommonAncestor(Device *one, Device *other, unsigned *found) {
    load(one->uuid, other->uuid);
    *found = (unsigned)level;
    return OK;
}

int nvmlEventSetCreate(void **set) { *set = &devices; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }
int nvmlDeviceRegisterEvents(Device *device, unsigned long long types, void *set) {
    (void)device, (void)types, (void)set;
    return OK;
}

int nvmlEventSetWait_v2(void *set, Event *event, unsigned timeout) {
    (void)set, (void)timeout;
    for (int i = 0; i < MOST && devices[i].uuid[0]; i++) {
        int code;
        Gpu *gpu = find(&devices[i], &code);
        const char *xid = gpu ? text(gpu, "xid") : NULL;
        if (xid && strncmp(xid, devices[i].told, sizeof devices[i].told - 1)) {
            snprintf(devices[i].told, sizeof devices[i].told, "%.31s", xid);
            *event = (Event){&devices[i], 8, (unsigned long long)atol(xid), ~0U, ~0U};
            return OK;
        }
    }
    return TIMEOUT;
}
