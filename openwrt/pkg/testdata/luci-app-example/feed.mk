# A LuCI application as luci-app-loadbalance will be one. Its file is not called
# Makefile, lest OpenWrt takes this folder for a package.

include $(TOPDIR)/rules.mk

PKG_VERSION:=1.2.3
PKG_LICENSE:=MIT

LUCI_TITLE:=An example
LUCI_DESCRIPTION:=Shows how an application is packed.
LUCI_DEPENDS:=+luci-base +loadbalance

include $(TOPDIR)/feeds/luci/luci.mk

# call BuildPackage - OpenWrt buildroot signature
