#include "hardware/disk.h"

#include <gtest/gtest.h>

#include "hardware/recorded_tree.h"

namespace brimful::hardware {
namespace {

using testing::RecordedTree;

constexpr std::string_view kLaptop =
    "21 26 0:20 / /proc rw,relatime - proc proc rw\n"
    "26 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro\n"
    "40 26 0:35 / /tmp rw,nosuid shared:5 master:2 - tmpfs tmpfs rw,size=8g\n"
    "41 26 8:1 / /media/my\\040disk rw - ext4 /dev/sda1 rw\n"
    "42 26 0:50 / /net rw - nfs4 server:/models rw,vers=4.2\n"
    "43 26 0:51 / /remote rw - fuse.sshfs user@host:/ rw,user_id=1000\n"
    "44 26 0:52 /@home /home rw - btrfs /dev/mapper/vault rw,subvol=/@home\n"
    "45 26 9:0 / /raid rw - xfs /dev/md0 rw\n"
    "46 26 254:17 / /vm rw - ext4 /dev/vdb1 rw\n"
    "47 26 8:16 / /scsi rw - ext4 /dev/sdb rw\n"
    "48 26 8:33 / /stick rw - vfat /dev/sdc1 rw\n"
    "49 26 0:60 / /zfs rw - zfs pool/models rw\n"
    "50 26 0:61 / /win rw - 9p C:\\134 rw\n"
    "51 26 179:1 / /card rw - ext4 /dev/mmcblk0p1 rw\n";

/// Block devices in the layout of Linux. `sys/devices/<path>` is the folder of the disk.
class Machine : public RecordedTree {
 public:
  Machine() {
    file("proc/self/mountinfo", kLaptop);
    disk("pci0/nvme/nvme0/nvme0n1", "0").part("pci0/nvme/nvme0/nvme0n1", "nvme0n1p2", "259:2");
    disk("pci0/ata1/host0/block/sda", "1").part("pci0/ata1/host0/block/sda", "sda1", "8:1");
    disk("pci0/ata2/host1/block/sdd", "0");
    disk("pci0/virtio1/block/vdb", "1").part("pci0/virtio1/block/vdb", "vdb1", "254:17");
    disk("pci0/virtio2/host2/block/sdb", "1").number("pci0/virtio2/host2/block/sdb", "8:16");
    file("sys/devices/pci0/virtio2/host2/block/sdb/device/vendor", "QEMU    \n");
    disk("pci0/usb1/1-2/host3/block/sdc", "1").part("pci0/usb1/1-2/host3/block/sdc", "sdc1", "8:33");
    disk("soc/mmc0/block/mmcblk0", "0").part("soc/mmc0/block/mmcblk0", "mmcblk0p1", "179:1");
    disk("virtual/block/dm-0", "0")
        .on("virtual/block/dm-0", "nvme0n1p2", "pci0/nvme/nvme0/nvme0n1/nvme0n1p2");
    disk("virtual/block/md0", "1").number("virtual/block/md0", "9:0");
    on("virtual/block/md0", "sda1", "pci0/ata1/host0/block/sda/sda1");
    on("virtual/block/md0", "sdd", "pci0/ata2/host1/block/sdd");
    link("sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
    file("dev/dm-0", "").link("dev/mapper/vault", "../dm-0");
  }
  Machine& disk(const std::string& dir, const std::string& rotational) {
    file("sys/devices/" + dir + "/queue/rotational", rotational + "\n")
        .directory("sys/devices/" + dir + "/slaves");
    return *this;
  }
  Machine& part(const std::string& dir, const std::string& name, const std::string& device) {
    file("sys/devices/" + dir + "/" + name + "/partition", "1\n");
    return number(dir + "/" + name, device);
  }
  Machine& number(const std::string& dir, const std::string& device) {
    link("sys/dev/block/" + device, "../../devices/" + dir);
    return *this;
  }
  Machine& on(const std::string& dir, const std::string& name, const std::string& below) {
    link("sys/devices/" + dir + "/slaves/" + name, "../../../../" + below);
    return *this;
  }
};

TEST(ParseMountinfo, UndoesEscapesAndSkipsOptionalFields) {
  const auto mounts = parse_mountinfo(kLaptop);
  ASSERT_EQ(mounts.size(), 14U);
  EXPECT_EQ(mounts[1].device, (DeviceNumber{259, 2}));
  EXPECT_EQ(mounts[1].file_system, "ext4");
  EXPECT_EQ(mounts[1].source, "/dev/nvme0n1p2");
  EXPECT_EQ(mounts[1].options, "rw,errors=remount-ro");
  EXPECT_EQ(mounts[2].file_system, "tmpfs");
  EXPECT_EQ(mounts[3].mount_point, "/media/my disk");
  EXPECT_EQ(mounts[12].source, "C:\\");
}

TEST(ParseMountinfo, LeavesOutWhatIsNoMount) {
  EXPECT_TRUE(parse_mountinfo("").empty());
  EXPECT_TRUE(parse_mountinfo("\n1\n1 2\n1 2 3 4 5 6 7 8 9\n").empty());
  EXPECT_TRUE(parse_mountinfo("26 1 259:2 / / rw,relatime shared:1\n").empty());
  EXPECT_TRUE(parse_mountinfo("26 1 x:y / / rw - ext4 /dev/a rw\n").empty());
  const auto odd = parse_mountinfo("26 1 1:2 / /a\\04 rw - ext4 /dev/a\\\n");
  ASSERT_EQ(odd.size(), 1U);
  EXPECT_EQ(odd[0].mount_point, "/a\\04");
}

TEST(FindMount, TakesTheNearestAboveThePath) {
  const auto mounts = parse_mountinfo(kLaptop);
  EXPECT_EQ(find_mount(mounts, "/opt/models/a.gguf")->mount_point, "/");
  EXPECT_EQ(find_mount(mounts, "/tmp/a.gguf")->mount_point, "/tmp");
  EXPECT_EQ(find_mount(mounts, "/tmp")->mount_point, "/tmp");
  EXPECT_EQ(find_mount(mounts, "/tmpfiles/a.gguf")->mount_point, "/");
  EXPECT_EQ(find_mount(mounts, "/media/my disk/a")->source, "/dev/sda1");
  EXPECT_EQ(find_mount({}, "/"), nullptr);
}

TEST(FindMount, PrefersTheDeviceOfTheFile) {
  const auto mounts = parse_mountinfo(
      "1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /a rw - ext4 /dev/sda2 rw\n"
      "3 2 8:3 / /a rw - ext4 /dev/sda3 rw\n");
  EXPECT_EQ(find_mount(mounts, "/a/b")->source, "/dev/sda3");  // The later mount hides the other one.
  EXPECT_EQ(find_mount(mounts, "/a/b", DeviceNumber{8, 2})->source, "/dev/sda2");
  EXPECT_EQ(find_mount(mounts, "/a/b", DeviceNumber{8, 1})->source, "/dev/sda1");
  EXPECT_EQ(find_mount(mounts, "/a/b", DeviceNumber{0, 99})->source, "/dev/sda3");
}

TEST(ReadDisk, KnowsWhatIsUnderAPath) {
  struct Case {
    std::string path, device, kind, file_system;
  };
  const Machine machine;
  for (const Case& c : std::vector<Case>{
           {"/opt/a.gguf", "nvme0n1", "NVMe SSD", "ext4"},
           {"/media/my disk/a.gguf", "sda", "hard disk", "ext4"},
           {"/home/me/a.gguf", "nvme0n1", "NVMe SSD", "btrfs"},  // The device lies behind the device mapper.
           {"/raid/a.gguf", "sda+sdd", "hard disk", "xfs"},      // The array is as slow as its slower half.
           {"/vm/a.gguf", "vdb", "virtual disk", "ext4"},
           {"/scsi/a.gguf", "sdb", "virtual disk", "ext4"},
           {"/stick/a.gguf", "sdc", "USB disk", "vfat"},
           {"/card/a.gguf", "mmcblk0", "memory card", "ext4"},
           {"/tmp/a.gguf", "tmpfs", "memory", "tmpfs"},
           {"/net/a.gguf", "server:/models", "network", "nfs4"},
           {"/remote/a.gguf", "user@host:/", "network", "fuse.sshfs"},
           {"/win/a.gguf", "C:\\", "network", "9p"},
           {"/zfs/a.gguf", "", "unknown", "zfs"},
       }) {
    const Disk disk = read_disk(c.path, machine.path());
    EXPECT_EQ(disk.device, c.device) << c.path;
    EXPECT_EQ(disk.kind, c.kind) << c.path;
    EXPECT_EQ(disk.file_system, c.file_system) << c.path;
    EXPECT_TRUE(disk.reads.empty());
  }
}

TEST(ReadDisk, OfASolidStateDiskBehindSata) {
  Machine machine;
  machine.number("pci0/ata2/host1/block/sdd", "8:48");
  machine.file("proc/self/mountinfo", "26 1 8:48 / / rw - ext4 /dev/sdd rw\n");
  EXPECT_EQ(read_disk("/a", machine.path()).kind, "SATA SSD");
}

TEST(ReadDisk, FollowsLinksToAnotherDisk) {
  Machine machine;
  machine.directory("media/my disk/models").link("models", "media/my disk/models");
  EXPECT_EQ(read_disk("/models/a.gguf", machine.path()).device, "sda");
}

TEST(ReadDisk, OfAnOverlayIsUnknownUnlessItsUpperFolderIsSeen) {
  Machine machine;
  const std::string overlay =
      "26 1 0:70 / / rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/docker/upper,workdir=/docker/work\n"
      "27 26 8:1 / /docker rw - ext4 /dev/sda1 rw\n";
  machine.file("proc/self/mountinfo", overlay);
  EXPECT_EQ(read_disk("/a.gguf", machine.path()).kind, "unknown");
  EXPECT_EQ(read_disk("/a.gguf", machine.path()).file_system, "overlay");
  machine.directory("docker/upper");
  EXPECT_EQ(read_disk("/a.gguf", machine.path()).kind, "hard disk");
  machine.file("proc/self/mountinfo", "26 1 0:70 / / rw - overlay overlay rw,upperdir=/docker/upper\n");
  EXPECT_EQ(read_disk("/a.gguf", machine.path()).kind, "unknown");  // There is no other mount above it.
}

TEST(ReadDisk, OfDevicesInACircleEnds) {
  Machine machine;
  machine.on("virtual/block/dm-0", "self", "virtual/block/dm-0");
  EXPECT_FALSE(read_disk("/home/a", machine.path()).kind.empty());
}

TEST(ReadDisk, WithoutProcOrSysIsUnknown) {
  const Disk nothing = read_disk("/a", RecordedTree().path());
  EXPECT_EQ(nothing.kind, "unknown");
  EXPECT_EQ(nothing.file_system, "");
  RecordedTree no_sys;
  no_sys.file("proc/self/mountinfo", kLaptop);
  EXPECT_EQ(read_disk("/opt/a", no_sys.path()).kind, "unknown");
  EXPECT_EQ(read_disk("/opt/a", no_sys.path()).file_system, "ext4");
}

TEST(ReadDisk, OfThisMachineHasAFileSystem) {
  const Disk disk = read_disk(::testing::TempDir());
  EXPECT_FALSE(disk.file_system.empty());
  EXPECT_FALSE(disk.kind.empty());
}

}  // namespace
}  // namespace brimful::hardware
